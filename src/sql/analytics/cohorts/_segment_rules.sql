create or replace function analytics._segment_rules(segment_setting analytics.segment_setting)
returns table (name text, description text, rule jsonb)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_window constant text := (segment_setting).window_days || ' days';
  v_active constant jsonb := jsonb_build_object('event', null, 'within', v_window);
  v_earlier constant jsonb := jsonb_build_object('event', null, 'older_than', v_window);
  v_before constant jsonb := v_earlier || jsonb_build_object('within', 2 * (segment_setting).window_days || ' days');
  v_regular constant jsonb :=
    v_active || jsonb_build_object('counted', 'days', 'at_least', (segment_setting).regular_days);
  v_power constant jsonb :=
    v_active || jsonb_build_object('counted', 'days', 'at_least', (segment_setting).power_days);
begin
  return query
  values
    (
      'segment.new',
      format('First active in the last %s.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_active, jsonb_build_object('not', v_earlier)))
    ),
    (
      'segment.returning',
      format('Active in the last %s, not in the %1$s before them, and active earlier.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_active, v_earlier, jsonb_build_object('not', v_before)))
    ),
    (
      'segment.casual',
      format('Active in the last %s and in those before them, on fewer than %s of the last days.', v_window,
        (segment_setting).regular_days),
      jsonb_build_object('all', jsonb_build_array(v_active, v_before, jsonb_build_object('not', v_regular)))
    ),
    (
      'segment.regular',
      format('Active on %s to %s of the last %s, and active in those before them.', (segment_setting).regular_days,
        (segment_setting).power_days - 1, v_window),
      jsonb_build_object('all', jsonb_build_array(v_regular, v_before, jsonb_build_object('not', v_power)))
    ),
    (
      'segment.power',
      format('Active on at least %s of the last %s, and active in those before them.', (segment_setting).power_days,
        v_window),
      jsonb_build_object('all', jsonb_build_array(v_power, v_before))
    ),
    (
      'segment.dormant',
      format('Active earlier, and not in the last %s.', v_window),
      jsonb_build_object('all', jsonb_build_array(v_earlier, jsonb_build_object('not', v_active)))
    );
end;
$$;

comment on function analytics._segment_rules(analytics.segment_setting) is $$
Returns the rules of the segments. Each person who was ever active is in exactly one of them.
$$;

grant execute on function analytics._segment_rules(analytics.segment_setting) to insights_reader;
