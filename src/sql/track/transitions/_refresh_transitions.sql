create or replace function track._refresh_transitions()
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_month date;
  v_written bigint;
begin
  -- One refresh at a time: another one would change the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  loop
    v_month := (select max(stale_month.month) from track.stale_transition_month as stale_month);
    exit when v_month is null;
    delete from track.stale_transition_month where stale_transition_month.month = v_month;
    continue when v_month < (select setting.sums_kept_before from track.setting);
    delete from track.item_transition where item_transition.month = v_month;
    insert into track.item_transition
    select transition.* from track.month_transitions(v_month) as transition;
    get diagnostics v_written = row_count;
    exit when v_written > 0;
  end loop;
  return coalesce(v_written, 0);
end;
$$;

comment on function track._refresh_transitions() is $$
Recomputes the transitions of the latest month that is queued, and of empty ones before it. Returns the number of rows.
$$;
