/* A definer owned by insights_reader: it returns people, and is granted to roles that may read them. */
create or replace function analytics.cohort_people(name text, among text default null)
returns setof analytics.cohort_person
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_set constant text := case
    when starts_with(cohort_people.name, 'cluster.') then cohort_people.name
    else analytics._cohort_set(cohort_people.name)
  end;
  v_among constant bigint[] := case
    when cohort_people.among is not null then analytics._people_among(cohort_people.among, null)
  end;
  v_people analytics.cohort_person[];
begin
  perform analytics._check_sets(array[analytics._cohort_set(cohort_people.name)]);
  v_people := array(
    select row(member.person_id, named.external_id)::analytics.cohort_person
    from (
      select members.block::bigint * 4096 + place as person_id
      from track.person_set_blocks(v_set) as members
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
    where v_among is null
      or member.person_id = any (v_among)
    order by member.person_id
  );
  perform privacy.record_disclosure(
    array(select listed.person_id from unnest(v_people) as listed), 'analytics.cohort_people'
  );
  return query
  select listed.*
  from unnest(v_people) as listed;
end;
$$;

alter function analytics.cohort_people(text, text) owner to insights_reader;

comment on function analytics.cohort_people(text, text) is $$
@behavior -mutationField +queryField
Returns the people of a cohort, segment or cluster (`beta`, `segment.power`, `cluster.night`), as of now.
Without excluded ones.
`among`: only those who are also in an expression of sets, such as `shareable` (`privacy.may_share`).
Errors: CF002 for an unknown cohort (names the nearest) or set, CF001 for an invalid `among`, CF010 for a live cohort of
variations whose people were deleted by retention.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.cohort_people(text, text) to insights_admin, insights_worker;
