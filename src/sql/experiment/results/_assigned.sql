create or replace function experiment._assigned(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  kept experiment.day_sum[] default null,
  least_expected float8 default 10,
  least_users float8 default 0
)
returns experiment.drawn[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_is_part constant boolean := _assigned.among is not null;
  v_id constant int := (experiment).experiment_id;
  v_started_at constant timestamptz := (experiment).started_at;
  v_count constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_since timestamptz[];
  v_weights float8[];
  v_numbers bigint[];
  v_users float8[];
begin
  -- The weights of the start are those of the whole first day.
  select
    array_agg(weighting.since order by weighting.since),
    array_agg(weighting.weights order by weighting.since)
  into v_since, v_weights
  from (
    select
      case when row_number() over (order by known.since) = 1 then '-infinity' else known.since end as since,
      known.weights
    from experiment.weighting as known
    where known.experiment_id = v_id
      and known.since >= coalesce(
        (
          select max(former.since)
          from experiment.weighting as former
          where former.experiment_id = v_id
            and former.since <= v_started_at
        ),
        '-infinity'
      )
  ) as weighting;
  if array_length(v_weights, 1) is null then
    return null;
  end if;

  -- The sums that are kept are of days on which the weights did not change.
  v_numbers := array(
    with member as materialized (
      select listed.block, listed.people
      from unnest(_assigned.among) as listed
    )

    select coalesce(number.people, 0)
    from generate_series(1, cardinality(v_since)) as part (period)
    cross join generate_series(0, v_count - 1) as arm (place)
    left join (
      select entry.period, entry.variation, sum(entry.people) as people
      from (
        select width_bucket(period_sum.since, v_since) as period, period_sum.variation, period_sum.people
        from experiment.period_sum
        where period_sum.experiment_id = v_id
          and _assigned.among is null
          and _assigned.kept is null

        union all

        select
          width_bucket(stored.exposed_on::timestamp at time zone 'UTC', v_since), stored.variation, stored.people
        from unnest(_assigned.kept) as stored
        where stored.position = -1
          and stored.variation >= 0

        union all

        select width_bucket(exposure.exposed_at, v_since), exposure.variation, 1
        from experiment.exposure
        join member
          on member.block = exposure.person_id / 4096
          and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
        where v_is_part
          and exposure.experiment_id = v_id
          and exposure.is_counted
          and exposure.variation is not null
      ) as entry
      group by entry.period, entry.variation
    ) as number on number.period = part.period and number.variation = arm.place
    order by part.period, arm.place
  );
  v_users := (
    select array_agg(v_numbers[(period - 1) * v_count + 1 : period * v_count]::float8[] order by period)
    from generate_subscripts(v_since, 1) as period
  );
  return experiment._drawn(v_users, v_weights, least_expected, least_users);
end;
$$;

comment on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
) is $$
@behavior -*
Returns how many people each variation has, and what the weights at the time of their exposure make expect.
By part of the time (`experiment._drawn`). Of all people, by `experiment.period_sum`; of those of `among`, by their
exposures; or of the sums of days that are `kept` of an ended experiment.
$$;

grant execute on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
)
to insights_reader;
