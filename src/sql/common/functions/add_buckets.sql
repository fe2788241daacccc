create or replace function common.add_buckets(at timestamptz, bucket text, buckets int, zone text)
returns timestamptz
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_length constant interval := case
    when add_buckets.bucket in ('minute', 'hour', 'day', 'week', 'month', 'year')
      then ('1 ' || add_buckets.bucket)::interval
    when add_buckets.bucket = 'quarter' then interval '3 months'
  end;
begin
  if v_length is null then
    perform common.refuse(
      'CF001',
      format('bucket is "%s"', left(add_buckets.bucket, 100)),
      'Use minute, hour, day, week, month, quarter or year.'
    );
  end if;
  if add_buckets.bucket in ('minute', 'hour') then
    return add_buckets.at + add_buckets.buckets * v_length;
  end if;
  -- Longer ones begin at a local midnight.
  return (
    add_buckets.at at time zone left(add_buckets.zone, 100) + add_buckets.buckets * v_length
  ) at time zone left(add_buckets.zone, 100);
end;
$$;

comment on function common.add_buckets(timestamptz, text, int, text) is $$
Returns a time plus a number of time buckets, which can be negative, from a day on in the time of a zone.
The start of a bucket gives the start of another one.
Errors: CF001 for a bucket that does not exist, 22023 for a zone
(see `common.check_zone`).
$$;

grant execute on function common.add_buckets(timestamptz, text, int, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
