create or replace function track._enter_months(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform track.make_partitions(needed.month, needed.month)
  from (
    select distinct date_trunc('month', message.occurred_at) as month
    from unnest(messages) as message
  ) as needed
  where to_regclass('track.event_' || to_char(needed.month, 'YYYY_MM')) is null;
end;
$$;

comment on function track._enter_months(track.parsed_message[]) is $$
Makes the partitions of `track.event` for months that have none yet.
$$;
