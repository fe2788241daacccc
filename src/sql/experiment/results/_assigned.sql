create or replace function experiment._assigned(
  experiment experiment.experiment,
  sums experiment.day_sum[],
  among track.person_set_block[] default null
)
returns experiment.drawn
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_id constant int := (experiment).experiment_id;
  v_started_at constant timestamptz := (experiment).started_at;
  v_count constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_since timestamptz[];
  v_weights float8[];
  v_changed date[];
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
  v_changed := array(
    select distinct changed.day::date
    from unnest(v_since) as entry (since)
    cross join lateral (select entry.since at time zone 'UTC' as day) as changed
    where entry.since <> '-infinity'
      and changed.day <> date_trunc('day', changed.day)
  );
  if array_length(v_weights, 1) is null then
    return null;
  end if;

  -- The people of a day on which weights changed are counted by the time of their exposure, the others by their day.
  v_numbers := array(
    select coalesce(number.people, 0)
    from generate_series(1, cardinality(v_since)) as part (period)
    cross join generate_series(0, v_count - 1) as arm (place)
    left join (
      select entry.period, entry.variation, sum(entry.people) as people
      from (
        select
          width_bucket(stored.exposed_on::timestamp at time zone 'UTC', v_since) as period,
          stored.variation, stored.people
        from unnest(_assigned.sums) as stored
        where stored.position = -1
          and stored.variation >= 0
          and stored.exposed_on <> all (v_changed)

        union all

        select width_bucket(exposure.exposed_at, v_since), exposure.variation, 1
        from experiment.exposure
        where exposure.experiment_id = v_id
          and exposure.exposed_on = any (v_changed)
          and exposure.is_counted
          and exposure.variation is not null
          and (
            _assigned.among is null
            or exists (
              select
              from unnest(_assigned.among) as member
              where member.block = exposure.person_id / 4096
                and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
            )
          )
      ) as entry
      group by entry.period, entry.variation
    ) as number on number.period = part.period and number.variation = arm.place
    order by part.period, arm.place
  );
  v_users := (
    select array_agg(v_numbers[(period - 1) * v_count + 1 : period * v_count]::float8[] order by period)
    from generate_subscripts(v_since, 1) as period
  );
  return experiment._drawn(v_users, v_weights);
end;
$$;

comment on function experiment._assigned(experiment.experiment, experiment.day_sum[], track.person_set_block[]) is $$
@behavior -*
Returns how many people each variation has, and what the weights at the time of their exposure make expect.
`sums`: rows of `experiment.day_sum`, read on days on which the weights did not change; the exposures of the other days
are counted. `among`: people of the sums, null for all.
$$;

grant execute on function experiment._assigned(
  experiment.experiment, experiment.day_sum[], track.person_set_block[]
)
to insights_reader;
