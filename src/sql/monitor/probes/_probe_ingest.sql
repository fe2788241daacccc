create or replace function monitor._probe_ingest()
returns setof monitor.measurement
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  -- The counter of the statistics system: one row per accepted message, whatever its type.
  return query
  select 'insights_ingested_messages_total', null::jsonb,
    pg_stat_get_tuples_inserted('track.message'::regclass)::float8
  union all
  -- From 0 each day: the numbers of earlier days are deleted after a while, and a counter must not fall by that.
  select 'insights_refused_messages_total', jsonb_build_object('code', refused.code), sum(refused.messages)::float8
  from track.refusal as refused
  where refused.day = current_date
  group by refused.code;
end;
$$;

comment on function monitor._probe_ingest() is $$
Measures the messages that were accepted and refused. The numbers of refused messages begin at 0 each day (UTC).
$$;
