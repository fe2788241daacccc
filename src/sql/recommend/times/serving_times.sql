/* A definer owned by insights_reader: it reads the names of items and models, which workers may not read. */
create or replace function recommend.serving_times(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'function',
  kind text default 'course'
)
returns setof recommend.serving_duration
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  perform common.check_period(serving_times.since, serving_times.until);
  if serving_times.by is null or serving_times.by not in ('function', 'model', 'hour', 'day') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(serving_times.by, 100) || '"', 'null')),
      'Use function, model (version), hour or day.');
  end if;
  perform recommend._check(1, serving_times.kind);

  return query
  with entry as (
    select
      stored.function_name, nullif(stored.model_id, 0) as model_id, stored.hour_at, bucket.place, bucket.calls,
      -- Once per row.
      case bucket.place when 1 then stored.items else 0 end as items,
      case bucket.place when 1 then stored.seconds else 0 end as seconds
    from recommend.serving_time as stored
    cross join unnest(stored.counts) with ordinality as bucket (calls, place)
    where stored.hour_at >= serving_times.since
      and stored.hour_at < serving_times.until
      and stored.kind = serving_times.kind

    union all

    select
      queued.function_name, queued.model_id, queued.hour_at,
      common.duration_bucket(queued.seconds), 1, queued.item_count, queued.seconds
    from recommend.serving_call as queued
    where queued.hour_at >= serving_times.since
      and queued.hour_at < serving_times.until
      and queued.kind = serving_times.kind
  ),

  named as (
    select
      case serving_times.by
        when 'function' then entry.function_name
        when 'model' then model.version::text
        else to_char(
          date_trunc(serving_times.by, entry.hour_at),
          case serving_times.by when 'hour' then 'YYYY-MM-DD HH24:00' else 'YYYY-MM-DD' end
        )
      end as name,
      entry.place, sum(entry.calls) as calls, sum(entry.items) as items, sum(entry.seconds) as seconds
    from entry
    left join ml.model on model.model_id = entry.model_id
    group by 1, entry.place
  ),

  summed as (
    select
      named.name, sum(named.calls)::bigint as calls, sum(named.items)::bigint as items, sum(named.seconds) as seconds,
      array_agg(named.calls::bigint order by named.place) as sparse,
      array_agg(named.place::int order by named.place) as places
    from named
    group by named.name
  ),

  complete as (
    select
      summed.name, summed.calls, summed.items, summed.seconds,
      array(
        select coalesce(max(counted.calls), 0)
        from generate_series(1, cardinality(common.duration_bounds()) + 1) as place
        left join unnest(summed.places, summed.sparse) as counted (place, calls) using (place)
        group by place
        order by place
      ) as counts
    from summed
  )

  select
    complete.name, complete.calls, complete.items,
    1000 * complete.seconds / complete.calls,
    1000 * common.duration_quantile(complete.counts, 0.5),
    1000 * common.duration_quantile(complete.counts, 0.95),
    1000 * common.duration_quantile(complete.counts, 0.99),
    1000 * complete.seconds / nullif(complete.items, 0)
  from complete
  order by case when serving_times.by = 'model' then complete.name::int end nulls last, complete.name;
end;
$$;

alter function recommend.serving_times(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend.serving_times(timestamptz, timestamptz, text, text) is $$
Returns how long calls of `recommend.serve_me` and its variants took for items of a kind, with the record of the list.
The hours are those that begin in the period. `by`: `function`, `model` (version; null for lists without a model),
`hour` or `day`. Quantiles are computed from counts in buckets whose bounds differ by a factor of √2: they are at most
1.42 times as large or as small as the true value from 0.5 ms on, and much nearer with many calls. Above 131 s they are
131 s.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_times(timestamptz, timestamptz, text, text)
to insights_admin, insights_worker;
