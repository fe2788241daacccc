create or replace function analytics.define_segments(
  window_days int default 28, regular_days int default 4, power_days int default 12
)
returns setof analytics.segment_setting
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_actor constant text := common.author();
  v_segment record;
begin
  perform common.check_count('window_days', define_segments.window_days, 3, 366);
  perform common.check_count('regular_days', define_segments.regular_days, 2, define_segments.window_days - 1);
  perform common.check_count(
    'power_days', define_segments.power_days, define_segments.regular_days + 1, define_segments.window_days
  );
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  update analytics.segment_setting
  set
    window_days = define_segments.window_days,
    regular_days = define_segments.regular_days,
    power_days = define_segments.power_days;

  for v_segment in
    select segment.*
    from analytics.segment_setting
    cross join lateral analytics._segment_rules(segment_setting) as segment
  loop
    perform analytics._place_cohort(v_segment.name, v_segment.rule, v_segment.description, true, v_actor);
  end loop;
  return query select * from analytics.segment_setting;
end;
$$;

comment on function analytics.define_segments(int, int, int) is $$
Changes the thresholds of the segments, and computes the people of each. Returns the thresholds.
Active days are days (UTC) with an event that is not automatic; the window are the last `window_days`, today included.
`segment.new`: first active in the window. `segment.dormant`: active once, but not in the window. `segment.returning`:
active in the window, not in the window before it, and active earlier. All others are active in both windows:
`segment.power` on at least `power_days` days of this one, `segment.regular` on at least `regular_days`, and
`segment.casual` on fewer. Each person who was ever active is in exactly one segment.
Errors: CF001 for thresholds that leave a segment without people.
$$;

grant execute on function analytics.define_segments(int, int, int) to insights_admin;
