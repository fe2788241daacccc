create or replace function analytics._check_period(since timestamptz, until timestamptz)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_period.since is null or _check_period.until is null or _check_period.since >= _check_period.until then
    raise exception using
      errcode = 'CF001',
      message = format('the period is from %s until %s', coalesce(_check_period.since::text, 'null'), coalesce(_check_period.until::text, 'null')),
      hint = 'Give a time for since, and a later one for until.';
  end if;
end;
$$;

comment on function analytics._check_period(timestamptz, timestamptz) is $$
Raises CF001 unless `since` lies before `until`.
$$;

grant execute on function analytics._check_period(timestamptz, timestamptz) to insights_reader;
