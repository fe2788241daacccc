create or replace function track._count_found(findings track.finding[], at timestamptz)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_day constant date := (_count_found.at at time zone 'UTC')::date;
  -- Clients choose the names of properties, and so the number of rows.
  v_is_full constant boolean := (
    select count(*) >= 2000 from track.found_data where found_data.day = v_day and found_data.backend = pg_backend_pid()
  );
begin
  insert into track.found_data (day, event_type_id, property, kind, backend, found)
  select
    v_day, event_type.event_type_id,
    case when v_is_full then '…' else left(finding.property, 200) end, finding.kind, pg_backend_pid(),
    sum(finding.found)
  from unnest(findings) as finding
  left join track.event_type on event_type.name = finding.event_name
  group by 1, 2, 3, 4
  order by 2, 3, 4
  on conflict on constraint found_data_key do update
  set found = found_data.found + excluded.found;
end;
$$;

comment on function track._count_found(track.finding[], timestamptz) is $$
Counts what was found in messages and dropped of them.
$$;
