create or replace function recommend._arm(context recommend.person_context, kind text)
returns recommend.arm
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_assigned record;
  v_parameters jsonb := (
    select list_parameters.parameters
    from recommend.list_parameters
    where list_parameters.kind = _arm.kind
  );
  v_version int;
  v_arm recommend.arm;
begin
  select assigned.experiment_id, assigned.variation, assigned.value into v_assigned
  from experiment.assigned(
    'recommend.' || _arm.kind, (_arm.context).person_id, nullif((_arm.context).identity_id, 0)
  ) as assigned;
  -- Without consent no impression is recorded, so that the person can have no exposure.
  if v_assigned.variation is not null and not privacy.allowed((_arm.context).person_id, 'personalization') then
    null;
  elsif v_assigned.experiment_id is not null then
    -- Those who are in no variation have the parameters of the control.
    v_parameters := coalesce(v_parameters, '{}') || v_assigned.value;
    if v_assigned.variation is not null then
      v_arm.experiment_id := v_assigned.experiment_id;
      v_arm.variation := v_assigned.variation;
    end if;
  end if;
  if v_parameters is null then
    return null;
  end if;

  -- Values were checked when they were stored (recommend.check_variation); the weights of a version can be gone since.
  if jsonb_typeof(v_parameters -> 'model') = 'number' then
    v_version := v_parameters -> 'model';
    v_arm.model_id := coalesce(
      (
        select model.model_id
        from ml.project
        join ml.model using (project_id)
        where project.name = 'recommend.' || _arm.kind
          and model.version = v_version
          and model.marked_at is null
      ),
      0
    );
  end if;
  if jsonb_typeof(v_parameters -> 'tiers') = 'array' then
    v_arm.tiers := array(
      select tier.name
      from jsonb_array_elements_text(v_parameters -> 'tiers') with ordinality as tier (name, place)
      where tier.name <> 'newest'
      order by tier.place
    ) || '{newest}'::text[];
  end if;
  v_arm.diversity := v_parameters ->> 'diversity';
  if jsonb_typeof(v_parameters -> 'explored_slots') = 'array' then
    v_arm.explored_slots := array(select jsonb_array_elements_text(v_parameters -> 'explored_slots')::int);
  end if;
  v_arm.explored_pool_size := v_parameters ->> 'explored_pool_size';
  return v_arm;
end;
$$;

comment on function recommend._arm(recommend.person_context, text) is $$
@behavior -*
Returns what decides how a list for a person is made; null when nothing differs from `recommend.setting`.
That is the variation of the experiment that runs on the placement, or the control for people who are in none, over the
parameters of the kind (`recommend.list_parameters`). People without consent to `personalization` are not in the
experiment. The tier `newest` is always the last one, so that lists are never empty.
$$;

grant execute on function recommend._arm(recommend.person_context, text) to insights_reader;
