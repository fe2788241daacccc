create or replace function monitor._thin(unit text, since timestamptz, until timestamptz, most int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_deleted int;
begin
  with crowded as (
    select date_trunc(_thin.unit, sample.sampled_at, 'UTC') as started_at, min(sample.sampled_at) as kept_at
    from monitor.sample
    where sample.sampled_at >= _thin.since
      and sample.sampled_at < _thin.until
    group by 1
    having count(*) > 1
    order by 1
    limit _thin.most
  ),

  member as (
    select crowded.kept_at, sample.sampled_at, sample.measured
    from crowded
    join monitor.sample on sample.sampled_at >= crowded.started_at
      and sample.sampled_at < crowded.started_at + ('1 ' || _thin.unit)::interval
      and sample.sampled_at < _thin.until
  ),

  -- Of each series its first value: probes have different intervals, so that no single sample has all of them.
  merged as (
    select first_value.kept_at, array_agg(first_value.value order by first_value.place) as measured
    from (
      select member.kept_at, element.place,
        (array_agg(element.value order by member.sampled_at) filter (where element.value is not null))[1] as value
      from member
      cross join lateral unnest(member.measured) with ordinality as element (value, place)
      group by member.kept_at, element.place
    ) as first_value
    group by first_value.kept_at
  ),

  updated as (
    update monitor.sample
    set measured = merged.measured
    from merged
    where sample.sampled_at = merged.kept_at
  )

  delete from monitor.sample
  using member
  where sample.sampled_at = member.sampled_at
    and member.sampled_at > member.kept_at;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end;
$$;

comment on function monitor._thin(text, timestamptz, timestamptz, int) is $$
Merges the samples of each hour or day of a period into the first one, in at most `most` hours or days.
$$;

create or replace function monitor.thin_samples(most int default 500)
returns int
language plpgsql
volatile
-- A definer: workers have no privilege to change the samples.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_setting constant monitor.setting := (select setting from monitor.setting);
  v_deleted int;
  v_oldest int;
begin
  perform common.check_count('most', thin_samples.most, 1, 10000);
  v_deleted :=
    monitor._thin(
      'day', date_trunc('day', now() - v_setting.daily_samples, 'UTC'),
      date_trunc('day', now() - v_setting.hourly_samples, 'UTC'), thin_samples.most
    )
    + monitor._thin(
      'hour', date_trunc('day', now() - v_setting.hourly_samples, 'UTC'),
      date_trunc('hour', now() - v_setting.every_sample, 'UTC'), thin_samples.most
    );
  delete from monitor.sample where sample.sampled_at < now() - v_setting.daily_samples;
  get diagnostics v_oldest = row_count;
  delete from monitor.series where series.measured_at < now() - v_setting.daily_samples;
  -- Workers that were started again have another name.
  delete from monitor.worker where worker.seen_at < now() - interval '30 days';
  return v_deleted + v_oldest;
end;
$$;

comment on function monitor.thin_samples(int) is $$
@behavior -*
Thins the samples by `monitor.setting`: after two weeks one per hour is kept, after 90 days one per day, for 3 years.
The first value of each series remains. Deletes workers that were not seen for 30 days. At most `most` hours and days
per call. Returns the number of deleted samples.
Errors: CF001 for `most` outside of 1 to 10,000.
$$;

grant execute on function monitor.thin_samples(int) to insights_worker;
