create or replace function track._settle(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near bigint[];
  v_queued bigint[];
  v_outcome record;
  v_consumer track.consumer;
begin
  -- Courses that are queued are left out by the refresh of a person.
  perform track._refresh_course_presence();

  -- The keys that the people have, and those that they had: the key of a person is that of one of her identities.
  v_near := array(
    select distinct entry.person_id
    from (
      select unnest(_settle.identity_ids) as identity_id
      union
      select unnest(array[link.identity_id, link.linked_identity_id])
      from track.identity_link as link
      where link.identity_id = any (_settle.identity_ids)
        or link.linked_identity_id = any (_settle.identity_ids)
    ) as linked
    join track.identity as one on one.identity_id = linked.identity_id
    join track.identity as other on other.person_id = one.person_id
    cross join lateral (values (other.identity_id), (other.person_id)) as entry (person_id)
    where entry.person_id <> 0
  );
  v_queued := array(select distinct stale.person_id from track.stale where stale.person_id = any (v_near));
  begin
    perform track._refresh_sessions_of(v_queued);
  exception
    -- As with track.refresh: the data of one person makes it fail. Her erasure removes it; others stay queued.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then null;
  end;
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    with taken as (
      delete from track.changed
      where changed.person_id = any (v_near)
        and changed.consumer = v_consumer.consumer
      returning changed.person_id
    )
    select array_agg(distinct taken.person_id) into v_queued
    from taken;
    continue when v_queued is null;
    v_outcome := track._refresh_people(
      v_consumer.refresh, v_queued,
      array_fill('-infinity'::timestamptz, array[cardinality(v_queued)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_queued)])
    );
    insert into track.changed (person_id, consumer, since, until)
    select failed.person_id, v_consumer.consumer, '-infinity', 'infinity'
    from unnest(v_outcome.failed) as failed (person_id);
  end loop;
end;
$$;

comment on function track._settle(bigint[]) is $$
Refreshes what is queued for the people of identities, and for those they were linked to at some time.
Merges and splits move derived data with the next refresh: afterwards the derived data of a person is her own only.
The caller has locked the refresh, the people and the identities.
$$;
