/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.cohort_people(name text)
returns setof analytics.cohort_person
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  return query
  select member.person_id, named.external_id
  from (
    select members.block::bigint * 4096 + place as person_id
    from track.person_set_blocks(analytics._cohort_set(cohort_people.name)) as members
    left join track.person_set_blocks('excluded') as excluded on excluded.block = members.block
    cross join generate_series(0, 4095) as place
    where get_bit(members.people, place) = 1
      and coalesce(get_bit(excluded.people, place), 0) = 0
  ) as member
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = member.person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as named on true
  order by member.person_id;
end;
$$;

alter function analytics.cohort_people(text) owner to insights_reader;

comment on function analytics.cohort_people(text) is $$
Returns the people of a cohort or segment (`beta`, `segment.power`), as of now, without excluded ones.
Errors: CF002 for an unknown cohort (names the nearest).
$$;

grant execute on function analytics.cohort_people(text) to insights_admin, insights_worker;
