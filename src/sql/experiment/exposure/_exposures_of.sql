create or replace function experiment._exposures_of(people bigint[])
returns experiment.exposure[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
-- The planner has no statistics of the arrays, and would compare each row with each.
set enable_nestloop to off
set jit to off
as $$
declare
  v_exposed constant experiment.exposed[] := array(
    select exposed from experiment._first_exposures(_exposures_of.people) as exposed
  );
  v_people bigint[];
  v_set text;
  v_member_sets text[] := '{}';
  v_members bigint[] := '{}';
  v_trait text;
  v_trait_names text[] := '{}';
  v_trait_people bigint[] := '{}';
  v_trait_times timestamptz[] := '{}';
  v_trait_values text[] := '{}';
  v_some_people bigint[];
  v_some_times timestamptz[];
  v_exposures experiment.exposure[];
begin
  if v_exposed = '{}' then
    return '{}';
  end if;
  v_people := array(select distinct exposed.person_id from unnest(v_exposed) as exposed);

  for v_set in
    select experiment.population
    from experiment.experiment
    where experiment.experiment_id = any (array(select exposed.experiment_id from unnest(v_exposed) as exposed))
    union
    select substr(experiment.strata, 5)
    from experiment.experiment
    where experiment.experiment_id = any (array(select exposed.experiment_id from unnest(v_exposed) as exposed))
      and starts_with(experiment.strata, 'set.')
  loop
    v_some_people := array(select distinct experiment._members_of(v_set, v_people));
    v_members := v_members || v_some_people;
    v_member_sets := v_member_sets || array_fill(v_set, array[cardinality(v_some_people)]);
  end loop;

  for v_trait, v_some_people, v_some_times in
    select substr(experiment.strata, 7), array_agg(exposed.person_id), array_agg(exposed.exposed_at)
    from unnest(v_exposed) as exposed
    join experiment.experiment using (experiment_id)
    where starts_with(experiment.strata, 'trait.')
    group by experiment.strata
  loop
    select
      v_trait_names || array_agg(v_trait), v_trait_people || array_agg(known.person_id),
      v_trait_times || array_agg(known.at), v_trait_values || array_agg(left(known.value #>> '{}', 100))
    into v_trait_names, v_trait_people, v_trait_times, v_trait_values
    from track.traits_at(v_some_people, v_trait, v_some_times) as known;
  end loop;

  v_exposures := array(
    select row(
      exposed.person_id,
      exposed.experiment_id,
      exposed.variation,
      exposed.exposed_at,
      (exposed.exposed_at at time zone 'UTC')::date,
      counted.person_id is not null,
      case
        when starts_with(experiment.strata, 'set.') then (stratum.person_id is not null)::text
        when starts_with(experiment.strata, 'trait.') then trait.value
      end,
      weighting.weights[width_bucket(exposed.exposed_at, weighting.since)][exposed.variation + 1],
      '{}',
      '{}'
    )::experiment.exposure
    from unnest(v_exposed) as exposed
    join experiment.experiment using (experiment_id)
    left join (
      select
        weighting.experiment_id, array_agg(weighting.since order by weighting.since) as since,
        array_agg(weighting.weights order by weighting.since) as weights
      from experiment.weighting
      group by weighting.experiment_id
    ) as weighting on weighting.experiment_id = exposed.experiment_id
    left join unnest(v_member_sets, v_members) as counted (set_name, person_id)
      on counted.set_name = experiment.population
      and counted.person_id = exposed.person_id
    left join unnest(v_member_sets, v_members) as stratum (set_name, person_id)
      on stratum.set_name = substr(experiment.strata, 5)
      and starts_with(experiment.strata, 'set.')
      and stratum.person_id = exposed.person_id
    left join (
      select distinct known.name, known.person_id, known.at, known.value
      from unnest(v_trait_names, v_trait_people, v_trait_times, v_trait_values) as known (name, person_id, at, value)
    ) as trait
      on trait.name = substr(experiment.strata, 7)
      and starts_with(experiment.strata, 'trait.')
      and trait.person_id = exposed.person_id
      and trait.at = exposed.exposed_at
  );
  return experiment._outcomes(
    v_exposures,
    array(
      select slot
      from experiment._slots(array(select distinct exposed.experiment_id from unnest(v_exposed) as exposed)) as slot
    )
  );
end;
$$;

comment on function experiment._exposures_of(bigint[]) is $$
Computes the exposures of people from their events: what `experiment.exposure` contains after a refresh.
$$;
