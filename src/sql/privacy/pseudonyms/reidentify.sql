create or replace function privacy.reidentify(pseudonym text, project text default 'analysts')
returns text
language plpgsql
volatile
-- A definer: no role may read the key, and the read is logged.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_key constant bytea := privacy._pseudonym_key(reidentify.project);
  v_function constant text := (select setting.names_function from privacy.setting);
  v_halves bigint[];
  v_identity privacy.identity_name;
begin
  if reidentify.pseudonym is null or reidentify.pseudonym !~ '^[0-9a-f]{32}$' then
    perform common.refuse(
      'CF001', format('the pseudonym is %s', coalesce('"' || left(reidentify.pseudonym, 100) || '"', 'null')),
      'Give 32 hexadecimal digits, as privacy.pseudonym returned them.'
    );
  end if;
  v_halves := privacy._permute(
    array[
      ('x' || substr(reidentify.pseudonym, 1, 16))::bit(64)::bigint,
      ('x' || substr(reidentify.pseudonym, 17, 16))::bit(64)::bigint
    ],
    v_key,
    '{4,3,2,1}'
  );
  -- The first half of the block is 0, which no other text of 32 digits gives.
  if v_halves[1] = 0 then
    execute format('select * from %I.%I($1)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
    into v_identity
    using array[v_halves[2]];
  end if;
  if v_identity.identity_id is null then
    perform common.refuse(
      'CF002', format('there is no person with the pseudonym "%s"', reidentify.pseudonym),
      'It is one of another project, of before the last rotation, or of a person who was erased.'
    );
  end if;
  perform privacy.record_disclosure(array[v_identity.person_id], 'privacy.reidentify');
  return v_identity.name;
end;
$$;

comment on function privacy.reidentify(text, text) is $$
@behavior -mutationField +queryField
Returns the name of the person with a pseudonym of a project, and logs the read: see `privacy.disclosure`.
The name is that of the identity that had the pseudonym, also when its person was merged since. An erased person has
none any more.
Errors: CF001 for a text that cannot be a pseudonym, CF002 for an unknown pseudonym or project, and those of a logged
read: CF005 in a read-only transaction, CF008.
$$;

grant execute on function privacy.reidentify(text, text) to insights_admin;
