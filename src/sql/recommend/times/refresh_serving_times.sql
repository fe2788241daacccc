create or replace function recommend.refresh_serving_times(most_calls int default 20000)
returns bigint
language plpgsql
volatile
-- A definer: no role may write recommend.serving_time.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_buckets constant int := cardinality(common.duration_bounds()) + 1;
  v_counted bigint;
begin
  perform common.check_count('most_calls', refresh_serving_times.most_calls, 1, 10000000);

  -- In one order, so that two refreshes at once do not wait for each other's rows in a circle.
  with taken as (
    delete from recommend.serving_call
    where serving_call.ctid = any (
      array(
        select queued.ctid
        from recommend.serving_call as queued
        limit refresh_serving_times.most_calls
        for update skip locked
      )
    )
    returning serving_call.*
  ),

  counted as (
    select
      taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0) as model_id,
      common.duration_bucket(taken.seconds) as bucket,
      count(*) as calls, sum(taken.item_count) as items, sum(taken.seconds) as seconds
    from taken
    group by taken.hour_at, taken.function_name, taken.kind, coalesce(taken.model_id, 0), bucket
  ),

  summed as (
    select
      counted.hour_at, counted.function_name, counted.kind, counted.model_id,
      sum(counted.calls) as calls, sum(counted.items)::bigint as items, sum(counted.seconds) as seconds,
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
  ),

  stored as (
    insert into recommend.serving_time as known (hour_at, function_name, kind, model_id, counts, items, seconds)
    select
      summed.hour_at, summed.function_name, summed.kind, summed.model_id, summed.counts, summed.items, summed.seconds
    from summed
    order by summed.hour_at, summed.function_name collate "C", summed.kind collate "C", summed.model_id
    on conflict (hour_at, function_name, kind, model_id) do update
    set
      counts = array(
        select former.calls + added.calls
        from unnest(known.counts) with ordinality as former (calls, place)
        join unnest(excluded.counts) with ordinality as added (calls, place) using (place)
        order by place
      ),
      items = known.items + excluded.items,
      seconds = known.seconds + excluded.seconds
  )

  select coalesce(sum(summed.calls), 0) into v_counted
  from summed;

  delete from recommend.serving_time
  where serving_time.hour_at < now() - privacy.kept_for('serving_times');
  return v_counted;
end;
$$;

comment on function recommend.refresh_serving_times(int) is $$
@behavior -mutationField
Counts the durations of calls that are stored in `recommend.serving_call`, and deletes these rows.
At most `most_calls` in a transaction; the worker repeats it until it returns 0. Counts older than
`privacy.kept_for('serving_times')` are deleted. Returns the number of calls.
Errors: CF001 for `most_calls`.
$$;

grant execute on function recommend.refresh_serving_times(int) to insights_worker;
