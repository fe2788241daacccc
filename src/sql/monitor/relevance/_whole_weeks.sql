create or replace function monitor._whole_weeks(since timestamptz, until timestamptz)
returns tstzrange
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  perform common.check_period(_whole_weeks.since, _whole_weeks.until);
  return tstzrange(
    date_trunc('week', greatest(_whole_weeks.since, '2000-01-03')),
    greatest(
      date_trunc('week', least(_whole_weeks.until, now()) - interval '1 microsecond') + interval '7 days',
      date_trunc('week', greatest(_whole_weeks.since, '2000-01-03'))
    )
  );
end;
$$;

comment on function monitor._whole_weeks(timestamptz, timestamptz) is $$
@behavior -*
Checks a period, and returns the whole weeks that it touches, so that two periods differ by a week at least.
$$;

grant execute on function monitor._whole_weeks(timestamptz, timestamptz) to insights_reader;
