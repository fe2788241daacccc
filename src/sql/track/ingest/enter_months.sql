create or replace function track._enter_months(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_earliest timestamptz;
  v_latest timestamptz;
begin
  -- Nearly always all events are of one month, which has its partition.
  select min(message.occurred_at), max(message.occurred_at)
  into v_earliest, v_latest
  from unnest(messages) as message;
  if date_trunc('month', v_earliest) = date_trunc('month', v_latest)
    and to_regclass('track.event_' || to_char(v_earliest, 'YYYY_MM')) is not null
  then
    return;
  end if;

  perform track.make_partitions(needed.month, needed.month)
  from (
    select distinct date_trunc('month', message.occurred_at) as month
    from unnest(messages) as message
  ) as needed
  where to_regclass('track.event_' || to_char(needed.month, 'YYYY_MM')) is null;
end;
$$;

comment on function track._enter_months(track.parsed_message[]) is $$
Creates the missing partitions of `track.event` for the months of the messages.
$$;
