create or replace function recommend._count_calls(calls recommend.serving_call[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
begin
  with counted as (
    select
      served.hour_at, served.function_name, served.kind, coalesce(served.model_id, 0) as model_id,
      common.duration_bucket(served.seconds) as bucket,
      count(*) as calls, sum(served.item_count) as items, sum(served.seconds) as seconds
    from unnest(_count_calls.calls) as served
    group by served.hour_at, served.function_name, served.kind, coalesce(served.model_id, 0), bucket
  ),

  summed as (
    select
      counted.hour_at, counted.function_name, counted.kind, counted.model_id,
      sum(counted.items)::bigint as items, sum(counted.seconds) as seconds,
      array(
        select coalesce(max(entry.calls), 0)
        from generate_series(1, v_buckets) as place
        left join unnest(array_agg(counted.bucket), array_agg(counted.calls)) as entry (bucket, calls)
          on entry.bucket = place
        group by place
        order by place
      ) as counts
    from counted
    group by counted.hour_at, counted.function_name, counted.kind, counted.model_id
  )

  insert into recommend.serving_time as known (hour_at, function_name, kind, model_id, counts, items, seconds)
  select
    summed.hour_at, summed.function_name, summed.kind, summed.model_id, summed.counts, summed.items, summed.seconds
  from summed
  on conflict (hour_at, function_name, kind, model_id) do update
  set
    counts = array(
      select former.calls + added.calls
      from unnest(known.counts) with ordinality as former (calls, place)
      join unnest(excluded.counts) with ordinality as added (calls, place) using (place)
      order by place
    ),
    items = known.items + excluded.items,
    seconds = known.seconds + excluded.seconds;
end;
$$;

comment on function recommend._count_calls(recommend.serving_call[]) is $$
Adds the durations of calls to `recommend.serving_time`.
$$;

create or replace function recommend._store_lists(calls recommend.serving_call[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_rows recommend.impression[];
  -- The lists: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_refused bigint[];
  v_first timestamptz;
  v_people bigint[];
  v_since timestamptz[];
begin
  v_rows := array(select served from recommend._served_rows(_store_lists.calls) as served);
  if v_rows = '{}' then
    return;
  end if;
  select array_agg(list.identity_id), array_agg(list.listed_at), min(list.listed_at) - v_tolerance
  into v_identity_ids, v_times, v_first
  from (select distinct served.identity_id, served.listed_at from unnest(v_rows) as served) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);
  v_refused := recommend._people_who_refuse(array(select distinct owner_id from unnest(v_owners) as owner_id));

  -- An identity that is gone leaves no person to whom the row was served. A row may be known from an event.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select distinct on (list.person_id, served.serving_key)
    list.person_id, served.serving_key, served.identity_id, served.model_id, served.item_id, served.rank, served.basis,
    served.propensity, served.pool, served.listed_at, true, served.experiment_id, served.variation, served.score,
    served.function_name
  from unnest(v_rows) as served
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = served.identity_id
    and list.listed_at = served.listed_at
  where list.person_id <> 0
    and list.person_id <> all (v_refused)
  order by list.person_id, served.serving_key, served.function_name collate "C"
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name
  where not impression.is_served;

  -- The events of these people since then may have been refreshed before.
  select array_agg(changed.person_id), array_agg(changed.since)
  into v_people, v_since
  from (
    select list.person_id, list.since
    from (
      select served.person_id, min(served.listed_at) - v_tolerance as since
      from unnest(v_times, v_owners) as served (listed_at, person_id)
      where served.person_id <> 0
        and served.person_id <> all (v_refused)
      group by served.person_id
    ) as list
    join track.event
      on event.person_id = list.person_id
      and event.occurred_at >= list.since
    -- So that no other month is read.
    where event.occurred_at >= v_first
    group by list.person_id, list.since
  ) as changed;
  perform track.queue_people('recommend.impression', v_people, v_since);
  perform experiment.queue_exposures(array(
    select distinct list.person_id
    from unnest(v_rows) as served
    join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      on list.identity_id = served.identity_id
      and list.listed_at = served.listed_at
    where served.experiment_id is not null
      and list.person_id is not null
  ));
end;
$$;

comment on function recommend._store_lists(recommend.serving_call[]) is $$
Stores the lists of calls in `recommend.impression`, for the people to whom their identities belong now.
Not for those who have opted out meanwhile. A row that is stored already is the same one. Queues the people whose
answers or exposures can differ.
$$;

create or replace function recommend.collect_servings(most int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_calls recommend.serving_call[];
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select from recommend.serving_call) then
    return 0;
  end if;

  -- No person is erased meanwhile.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  with taken as (
    delete from recommend.serving_call
    where serving_call.ctid = any (
      array(
        select queued.ctid
        from recommend.serving_call as queued
        -- A list has up to 1,000 rows of 100 bytes, and all are in memory.
        limit least(collect_servings.most, 2000)
        for update skip locked
      )
    )
    returning serving_call
  )

  select array_agg(taken.serving_call) into v_calls
  from taken;
  if v_calls is null then
    return 0;
  end if;

  perform recommend._count_calls(v_calls);
  perform recommend._store_lists(v_calls);
  delete from recommend.serving_time
  where serving_time.hour_at < now() - privacy.kept_for('serving_times');
  return cardinality(v_calls);
end;
$$;

comment on function recommend.collect_servings(int) is $$
@behavior -*
Stores the lists that were served since the last call in `recommend.impression`, and counts the durations of the calls.
Called by `track.refresh` (see `track.consumer.collect_function`). At most `most` calls, and 2,000, in the order of the
table. Counts of durations that are older than `privacy.kept_for('serving_times')` are deleted. Returns the number of
calls; they are deleted from `recommend.serving_call`.
$$;
