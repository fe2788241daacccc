create or replace function common.check_period(since timestamptz, until timestamptz)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  if check_period.since is null or check_period.until is null or check_period.since >= check_period.until then
    perform common.refuse(
      'CF001',
      format(
        'the period is from %s until %s',
        coalesce(check_period.since::text, 'null'),
        coalesce(check_period.until::text, 'null')
      ),
      'Give a time for since, and a later one for until.'
    );
  end if;
end;
$$;

comment on function common.check_period(timestamptz, timestamptz) is $$
Raises CF001 unless `since` is before `until`.
$$;

grant execute on function common.check_period(timestamptz, timestamptz)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
