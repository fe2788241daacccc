create or replace function track.make_partitions(
  since timestamptz default now(),
  until timestamptz default (now() at time zone 'UTC' + interval '3 months') at time zone 'UTC'
)
returns int
language plpgsql
volatile
-- A definer: only the owner of a table may add partitions to it.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_month timestamp;
  v_name text;
  v_made int := 0;
begin
  if make_partitions.since is null or make_partitions.until is null
    or not isfinite(make_partitions.since) or not isfinite(make_partitions.until)
    or make_partitions.since > make_partitions.until
    -- The names of partitions have four digits of the year.
    or make_partitions.since < '0001-01-01' or make_partitions.until >= '10000-01-01'
  then
    perform common.refuse(
      'CF001',
      format(
        'the period is from %s until %s',
        coalesce(make_partitions.since::text, 'null'),
        coalesce(make_partitions.until::text, 'null')
      ),
      'Give a time for since, and the same or a later one for until, in the years 1 to 9999.'
    );
  end if;
  if make_partitions.until > make_partitions.since + interval '100 years' then
    perform common.refuse(
      'CF008',
      format('from %s until %s there are more than 1200 months', make_partitions.since, make_partitions.until),
      'Give a shorter period.'
    );
  end if;

  for v_month in
    select month
    from generate_series(
      date_trunc('month', make_partitions.since at time zone 'UTC'),
      date_trunc('month', make_partitions.until at time zone 'UTC'),
      interval '1 month'
    ) as month
    where to_regclass(format('track.event_%s', to_char(month, 'YYYY_MM'))) is null
  loop
    -- A concurrent call waits here, and then finds the partition created.
    perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
    v_name := format('event_%s', to_char(v_month, 'YYYY_MM'));
    -- A query, because to_regclass reads a cache that is not updated while waiting for an advisory lock.
    if not exists (select from pg_catalog.pg_class where relnamespace = 'track'::regnamespace and relname = v_name) then
      begin
        -- Unlike "create table … partition of", attaching does not block writers of other partitions.
        execute format('create table track.%I (like track.event including defaults including constraints)', v_name);
        execute format('alter table track.%I enable row level security', v_name);
        execute format(
          'comment on table track.%I is %L',
          v_name, 'Events of ' || to_char(v_month, 'YYYY-MM') || ' (UTC).'
        );
        execute format(
          'alter table track.event attach partition track.%I for values from (%L) to (%L)',
          v_name, v_month at time zone 'UTC', (v_month + interval '1 month') at time zone 'UTC'
        );
        v_made := v_made + 1;
      exception
        -- The snapshot of a transaction above read committed is older than the partition. Rows are stored in it all the
        -- same.
        when duplicate_table then null;
      end;
    end if;
  end loop;
  return v_made;
end;
$$;

comment on function track.make_partitions(timestamptz, timestamptz) is $$
@behavior -mutationField
Creates the missing monthly partitions of `track.event` between two times. Returns their number.
By default these are the partitions of the next three months. A worker calls it in advance; `track.ingest` calls it
for events of other months.
Errors: CF001 for an invalid period, CF008 for more than 100 years.
$$;

grant execute on function track.make_partitions(timestamptz, timestamptz) to insights_worker;
