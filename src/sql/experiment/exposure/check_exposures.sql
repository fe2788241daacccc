create or replace function experiment._wrong_exposures(people bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  -- People who are queued are about to change.
  return array(
    with computed as materialized (
      select computed
      from unnest(
        experiment._exposures_of(
          array(
            select unnest(_wrong_exposures.people)
            except
            select unnest(experiment._refused_people(_wrong_exposures.people))
          )
        )
      ) as computed
    ),

    stored as materialized (
      select exposure from experiment.exposure where exposure.person_id = any (_wrong_exposures.people)
    )

    select (differing.entry).person_id
    from (
      (select computed as entry from computed except select exposure from stored)
      union all
      (select exposure from stored except select computed from computed)
    ) as differing
    where (differing.entry).person_id not in (
      select changed.person_id from track.changed where changed.person_id = any (_wrong_exposures.people)
      union all
      select stale.person_id from track.stale where stale.person_id = any (_wrong_exposures.people)
    )
    group by (differing.entry).person_id
  );
end;
$$;

comment on function experiment._wrong_exposures(bigint[]) is $$
Returns the people whose stored exposures are not those that their events show. Those who are queued are left out.
$$;

create or replace function experiment.check_exposures(experiment text, most_people int default 10000)
returns experiment.exposure_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(check_exposures.experiment);
  v_check experiment.exposure_check;
  v_people bigint[];
  v_wrong bigint[];
  v_exposures experiment.exposure[];
  v_sums experiment.day_sum[] := '{}';
  v_periods experiment.period_sum[];
begin
  perform common.check_count('most_people', check_exposures.most_people, 1, 100000);
  v_check.experiment := v_experiment.experiment_key;

  v_people := array(
    select exposure.person_id
    from experiment.exposure
    where exposure.experiment_id = v_experiment.experiment_id
    order by random()
    limit check_exposures.most_people
  );
  v_wrong := experiment._wrong_exposures(v_people);
  if v_wrong <> '{}' then
    -- Under the lock of the refresh, the differences are those that no refresh is about to change.
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    v_wrong := experiment._wrong_exposures(v_people);
    perform experiment.queue_exposures(v_wrong);
  end if;
  v_check.people := cardinality(v_people);
  v_check.wrong_people := cardinality(v_wrong);

  -- The sums are those of the stored exposures at each moment: no queue matters.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  for v_exposures in
    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      where exposure.experiment_id = v_experiment.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    v_sums := v_sums || array(
      select added
      from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added
    );
  end loop;
  v_sums := array(select summed from experiment._added_sums(v_sums) as summed);
  v_check.sums := cardinality(v_sums);
  select count(*) into v_check.wrong_sums
  from (
    select day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
    from (
      (
        select summed.* from unnest(v_sums) as summed
        except
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
      )
      union all
      (
        select stored.* from experiment.day_sum as stored where stored.experiment_id = v_experiment.experiment_id
        except
        select summed.* from unnest(v_sums) as summed
      )
    ) as day_sum
    group by day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
  ) as differing;
  if v_check.wrong_sums > 0 then
    delete from experiment.day_sum
    where day_sum.experiment_id = v_experiment.experiment_id;
    insert into experiment.day_sum
    select summed.* from unnest(v_sums) as summed;
  end if;

  v_periods := array(
    select period_sum
    from experiment.period_sum
    where period_sum.experiment_id = v_experiment.experiment_id
    order by period_sum.since, period_sum.variation
  );
  perform experiment._count_periods(v_experiment.experiment_id);
  v_check.sums := v_check.sums + cardinality(v_periods);
  v_check.wrong_sums := v_check.wrong_sums + (
    select count(*)
    from unnest(v_periods) as former
    full join (
      select * from experiment.period_sum where period_sum.experiment_id = v_experiment.experiment_id
    ) as present using (since, variation)
    where former.people is distinct from present.people
  );
  return v_check;
end;
$$;

comment on function experiment.check_exposures(text, int) is $$
Compares the exposures of an experiment with the events, and its sums with the exposures, and repairs what differs.
At most `most_people` people, drawn at random, are recomputed; those that differ are queued for the next refresh. The
sums, and the numbers of people by weights, are compared as a whole, and replaced when they differ. Nothing differs
unless events were changed by other means than the functions of this system, or an item of a metric has other contents.
Errors: CF002 for an unknown experiment (names the nearest), CF001 for an invalid `most_people`.
$$;

grant execute on function experiment.check_exposures(text, int) to insights_admin, insights_worker;
