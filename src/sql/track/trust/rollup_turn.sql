create or replace function track.rollup_turn()
returns track.rollup_turn
language plpgsql
stable
-- A definer: workers may not call private functions, and the months are those of the partitions.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_turn track.rollup_turn;
begin
  v_turn.checks := track._turn_checks();
  v_turn.duration := v_turn.checks * (
    select avg(latest.duration)
    from (
      select sum(checked.duration) as duration
      from track.rollup_check as checked
      where checked.check_id > (select max(last.check_id) from track.rollup_check as last) - 2000
      group by checked.month, checked.block
      order by max(checked.check_id) desc
      limit 100
    ) as latest
  );
  return v_turn;
end;
$$;

comment on function track.rollup_turn() is $$
@behavior -*
Returns the number of checks (`track.check_rollups`) after which all rollups have been compared with the events.
Also how long these take, as estimated from the latest ones.
$$;

grant execute on function track.rollup_turn() to insights_admin, insights_worker;
