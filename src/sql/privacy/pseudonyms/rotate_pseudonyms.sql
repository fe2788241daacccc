create or replace function privacy.rotate_pseudonyms(project text default 'analysts')
returns timestamptz
language plpgsql
volatile
-- A definer: it writes privacy.secret, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if rotate_pseudonyms.project is null or rotate_pseudonyms.project !~ '^[a-z][a-z_]{0,39}$' then
    perform common.refuse(
      'CF001', format('the project is %s', coalesce('"' || left(rotate_pseudonyms.project, 100) || '"', 'null')),
      'Give a name of at most 40 lower-case letters and underscores.'
    );
  end if;
  insert into privacy.secret (purpose)
  values ('pseudonym_' || rotate_pseudonyms.project)
  on conflict (purpose) do update set secret = excluded.secret;
  return now();
end;
$$;

comment on function privacy.rotate_pseudonyms(text) is $$
Replaces the key of the pseudonyms of a project, or creates the project; returns the time.
The former pseudonyms cannot be assigned to people or to the new ones any more, by this database; backups of it have the
former key until they expire. Errors: CF001 for an invalid name.
$$;

grant execute on function privacy.rotate_pseudonyms(text) to insights_admin;
