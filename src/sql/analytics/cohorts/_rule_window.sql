create or replace function analytics._rule_window(
  rule jsonb, as_of date, ignored_from timestamptz, out since timestamptz, out until timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
begin
  since := greatest(
    case when rule ? 'within' then (as_of - analytics._days_of(rule ->> 'within') + 1)::timestamptz end,
    (rule ->> 'since')::timestamptz,
    '-infinity'
  );
  until := least(
    case when rule ? 'older_than' then (as_of - analytics._days_of(rule ->> 'older_than') + 1)::timestamptz end,
    (rule ->> 'until')::timestamptz,
    ignored_from,
    'infinity'
  );
end;
$$;

comment on function analytics._rule_window(jsonb, date, timestamptz) is $$
Returns the period of a condition on events, as of a day (UTC). `until` is exclusive.
`within` are the last days up to `as_of` and all later events; `older_than` leaves out the last days.
$$;

grant execute on function analytics._rule_window(jsonb, date, timestamptz) to insights_reader;
