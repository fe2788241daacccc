create or replace function ml.register_ensemble(
  project text,
  versions int[],
  weights float8[] default null,
  description text default null
)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_project constant ml.project := ml._project(project);
  v_weights constant float8[] := coalesce(weights, array_fill(1::float8, array[coalesce(cardinality(versions), 0)]));
  v_total float8;
  v_models ml.model[] := '{}';
  v_features jsonb;
  v_mixed text;
begin
  if v_project.task <> 'classification' then
    perform common.refuse('CF001', format('project "%s" is a %s', left(project, 100), v_project.task),
      'Log odds are those of a classification of 0 and 1.');
  elsif versions is null or cardinality(versions) not between 2 and 20 or array_position(versions, null) is not null
    or (select count(distinct member) from unnest(versions) as member) <> cardinality(versions) then
    perform common.refuse('CF001', format('the versions are %s', left(coalesce(versions::text, 'null'), 100)),
      'Give 2 to 20 versions of the project, each once.');
  elsif cardinality(v_weights) <> cardinality(versions)
    or exists (select from unnest(v_weights) as weight where (weight between 1e-6 and 1e6) is not true) then
    perform common.refuse('CF001', format('the weights are %s', left(weights::text, 100)),
      'Give a weight between 1e-6 and 1e6 for each version, or null for equal ones.');
  end if;
  v_total := (select sum(weight) from unnest(v_weights) as weight);
  for v_place in 1..cardinality(versions) loop
    v_models := v_models || ml._version(project, versions[v_place]);
  end loop;
  select jsonb_agg(jsonb_build_object('name', name, 'type', types[1]) order by place),
    min(name) filter (where cardinality(types) > 1)
  into v_features, v_mixed
  from (
    select feature ->> 'name' as name, array_agg(distinct feature ->> 'type') as types,
      min(array[member.position, listed.position]) as place
    from generate_subscripts(versions, 1) as member (position)
    cross join lateral jsonb_array_elements((v_models[member.position]).coefficients -> 'features') with ordinality
      as listed (feature, position)
    group by 1
  ) as used;
  if v_mixed is not null then
    perform common.refuse('CF001', format('the feature "%s" is a number in one version and a category in another',
      left(v_mixed, 100)), 'The members of an ensemble read the same columns.');
  end if;
  return ml.register_model(
    project, v_project.task, 'ensemble',
    jsonb_build_object(
      'kind', 'ensemble', 'link', 'logit', 'features', coalesce(v_features, '[]'),
      'members', (
        select jsonb_agg(jsonb_build_object('model_id', (v_models[place]).model_id, 'version', versions[place],
          'weight', v_weights[place] / v_total) order by place)
        from generate_subscripts(versions, 1) as place
      )
    ),
    '{}', jsonb_build_object('versions', versions, 'weights', weights), null, null,
    (select max((model).data_watermark) from unnest(v_models) as model), null, null, description
  );
end;
$$;

comment on function ml.register_ensemble(text, int[], float8[], text) is $$
@behavior -*
Adds an ensemble of versions of a project as a version of its own, and returns its number.
Its log odds are the mean of those of the members after their calibration, by weight where `weights` are given; its
features are those of all members. ml.challenge measures it and deploys it when it is better, ml.deploy and ml.rollback
treat it as any other version. It reads the members when it answers: when one of them is marked for training, so is the
ensemble (CF006).
Errors: CF001 (not a classification, versions, weights, a member that is an ensemble, has several classes or answers
with other numbers than probabilities), CF002 (no such project or version), CF006 (a member is marked for training).
$$;

grant execute on function ml.register_ensemble(text, int[], float8[], text) to insights_admin, insights_worker;
