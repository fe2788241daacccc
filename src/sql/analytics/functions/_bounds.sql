create or replace function analytics._bounds(bucket text, since timestamptz, until timestamptz, zone text)
returns timestamptz[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_seconds constant float8 := case _bounds.bucket
    when 'minute' then 60
    when 'hour' then 3600
    when 'day' then 86400
    when 'week' then 604800
    when 'month' then 30 * 86400
    when 'quarter' then 91 * 86400
    when 'year' then 365 * 86400
  end;
  v_length interval;
  v_first timestamp;
begin
  perform common.check_period(_bounds.since, _bounds.until);
  if v_seconds is null then
    perform common.refuse(
      'CF001',
      format('bucket is "%s"', left(_bounds.bucket, 100)),
      'Use minute, hour, day, week (from Monday), month, quarter or year.'
    );
  end if;
  perform common.check_zone(_bounds.zone);
  if _bounds.since < '0001-01-01' or _bounds.until > '9999-12-31' then
    perform common.refuse(
      'CF008',
      format('the period is from %s until %s', _bounds.since, _bounds.until),
      'Give times between the years 1 and 9999.'
    );
  end if;
  if extract(epoch from _bounds.until - _bounds.since) > 10000 * v_seconds then
    perform common.refuse(
      'CF008',
      format(
        'from %s until %s there are more than 10000 buckets of one %s', _bounds.since, _bounds.until, _bounds.bucket
      ),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  -- Hours and minutes have the offset of their own time: the hour that is repeated at the end of summer is two buckets.
  if _bounds.bucket in ('minute', 'hour') then
    v_length := case _bounds.bucket when 'minute' then interval '1 minute' else interval '30 minutes' end;
    return array(
      select distinct date_trunc(_bounds.bucket, moment, _bounds.zone) as bound
      from generate_series(
        date_trunc(_bounds.bucket, _bounds.since, _bounds.zone),
        date_trunc(_bounds.bucket, _bounds.until - interval '1 microsecond', _bounds.zone)
          + make_interval(secs => v_seconds),
        v_length
      ) as moment
      order by bound
    );
  end if;

  v_length := case _bounds.bucket when 'quarter' then interval '3 months' else ('1 ' || _bounds.bucket)::interval end;
  v_first := date_trunc(_bounds.bucket, _bounds.since at time zone _bounds.zone);
  -- A day that a zone skipped, as at the date line, is left out.
  return array(
    select distinct moment at time zone _bounds.zone as bound
    from generate_series(
      v_first,
      date_trunc(_bounds.bucket, (_bounds.until - interval '1 microsecond') at time zone _bounds.zone) + v_length,
      v_length
    ) as moment
    order by bound
  );
end;
$$;

comment on function analytics._bounds(text, timestamptz, timestamptz, text) is $$
Returns the bounds of the buckets of a period: n + 1 ascending times for n buckets.
Whole buckets of the zone: the period is extended at both ends, so that what a bucket contains does not depend on it.
`bucket`: `minute`, `hour`, `day`, `week` (from Monday), `month`, `quarter` or `year`. `zone`: a name of the IANA time
zone database; days have 23 or 25 hours when the clocks change.
Errors: CF001 for an invalid period or bucket, CF002 for an unknown zone (names the nearest), CF008 for more than 10,000
buckets, and for years before 1 or after 9999.
$$;

grant execute on function analytics._bounds(text, timestamptz, timestamptz, text) to insights_reader;
