create or replace function analytics.trend_figures(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  measure text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.trend_figure
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if measure is null or measure not in ('events', 'people', 'engaged') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(measure, 100)), 'Use events, people or engaged (time, in seconds).'
    );
  end if;
  return query
  select
    trend.breakdown_value, trend.is_other, trend.bucket_start,
    common.add_buckets(trend.bucket_start, trend_figures.bucket, 1, trend_figures.zone),
    case trend_figures.measure
      when 'events' then trend.event_count::float8
      when 'people' then trend.person_count::float8
      else extract(epoch from trend.engaged)::float8
    end
  from analytics.trend(
    event_name => trend_figures.event_name,
    bucket => trend_figures.bucket,
    since => trend_figures.since,
    until => trend_figures.until,
    zone => trend_figures.zone,
    item => trend_figures.item,
    among => trend_figures.among,
    breakdown => trend_figures.breakdown,
    top_values => trend_figures.top_values
  ) as trend
  where trend.is_complete;
end;
$$;

comment on function analytics.trend_figures(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int
) is $$
@behavior -*
Returns one figure per complete bucket of a trend: `events`, `people`, or `engaged` time in seconds.
The other arguments are those of `analytics.trend`, with whose rules for analysts it is computed.
Errors: as that, CF001 for another measure.
$$;

grant execute on function analytics.trend_figures(
  text, text, timestamptz, timestamptz, text, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
