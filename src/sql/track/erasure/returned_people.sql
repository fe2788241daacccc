create or replace function track.returned_people()
returns setof bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kinds text[];
  v_names text[];
begin
  -- In parts: a list of names has at most 10,000.
  for v_kinds, v_names in
    select array_agg(part.kind), array_agg(part.external_id)
    from (
      select
        identity.kind, identity.external_id, (row_number() over (order by identity.identity_id) - 1) / 10000 as number
      from track.identity
      where identity.kind in ('user', 'anonymous', 'unverified')
    ) as part
    group by part.number
  loop
    return query
    select distinct identity.person_id
    from privacy.suppressed(v_kinds, v_names) as suppressed
    join track.identity on identity.external_id = suppressed.name and identity.kind = suppressed.kind
    where suppressed.lifted_at is null
      or identity.created_at < suppressed.since;
  end loop;
end;
$$;

comment on function track.returned_people() is $$
@behavior -*
Returns the people with a name that was erased after the name was stored, or that is suppressed.
There are none but after the restore of a backup from before an erasure. Hashes the names of all identities.
$$;
