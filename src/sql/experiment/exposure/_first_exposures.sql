create or replace function experiment._first_exposures(people bigint[])
returns setof experiment.exposed
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_generic_plan
-- A loop over the times of the journeys: the planner has no statistics of the arrays, and the caller's settings, which
-- are for joins of arrays, would read the index of all events.
set enable_nestloop to on
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
set jit to off
as $$
declare
  v_viewed constant record := experiment._viewed_types();
  v_since constant timestamptz := (select min(experiment.started_at) from experiment.experiment);
  -- By the key of the experiment, and by the key of the variation, or else its position.
  v_arms constant jsonb := (
    select jsonb_object_agg(arm.experiment_key, arm.variations)
    from (
      select
        experiment.experiment_key,
        jsonb_object_agg(
          name.name, jsonb_build_array(variation.experiment_id, variation.variation) order by name.is_key
        ) as variations
      from experiment.experiment
      join experiment.variation using (experiment_id)
      cross join lateral (
        values (variation.variation::text, false), (variation.variation_key, true)
      ) as name (name, is_key)
      where experiment.started_at is not null
      group by experiment.experiment_key
    ) as arm
  );
  v_function text;
  v_some experiment.exposed[];
  v_served experiment.exposed[] := '{}';
begin
  for v_function in
    select handler.exposure_function
    from experiment.handler
    where handler.exposure_function is not null
      and exists (
        select
        from experiment.experiment
        where experiment.placement like handler.room || '.%'
          and experiment.started_at is not null
      )
    order by handler.room
  loop
    execute format(
      'select array(select exposed from %I.%I($1) as exposed)',
      split_part(v_function, '.', 1), split_part(v_function, '.', 2)
    )
    into v_some
    using _first_exposures.people;
    v_served := v_served || v_some;
  end loop;

  return query
  with mentioned as materialized (
    select distinct step.person_id, viewed.occurred_at
    from track.step
    cross join lateral unnest(step.occurred_at) as viewed (occurred_at)
    where step.person_id = any (_first_exposures.people)
      and step.event_type_id = any (v_viewed.stored)
      and viewed.occurred_at >= v_since
  ),

  named as materialized (
    select
      event.person_id, event.identity_id, event.occurred_at,
      v_arms -> coalesce(event.properties ->> 'experiment_id', event.properties ->> 'experimentId')
      -> coalesce(event.properties ->> 'variation_id', event.properties ->> 'variationId') as arm
    from mentioned
    join track.event
      on event.person_id = mentioned.person_id
      and event.occurred_at = mentioned.occurred_at
    where coalesce(event.named_event_type_id, event.event_type_id) = v_viewed.named
      or event.event_type_id = v_viewed.named
  ),

  shown as (
    select
      named.person_id, named.identity_id, (named.arm ->> 0)::int as experiment_id,
      (named.arm ->> 1)::smallint as variation, named.occurred_at as exposed_at
    from named
    where named.arm is not null

    union all

    select served.person_id, served.identity_id, served.experiment_id, served.variation, served.exposed_at
    from unnest(v_served) as served
    where served.variation is not null
  )

  select
    shown.person_id,
    min(shown.identity_id),
    shown.experiment_id,
    case when min(shown.variation) = max(shown.variation) then min(shown.variation) end,
    min(shown.exposed_at)
  from shown
  join experiment.experiment
    on experiment.experiment_id = shown.experiment_id
    and shown.exposed_at >= experiment.started_at
    and shown.exposed_at < coalesce(experiment.stopped_at, 'infinity')
  where shown.person_id <> 0
  group by shown.person_id, shown.experiment_id;
end;
$$;

comment on function experiment._first_exposures(bigint[]) is $$
Returns the first exposure of people to each experiment; `variation` is null for those with two or more variations.
From the events "Experiment Viewed" while the experiment runs, and from the rooms of `experiment.handler`. Events that
name another experiment or variation are ignored.
$$;
