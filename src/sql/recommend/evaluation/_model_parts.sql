create or replace function recommend._model_parts(kind text, model text)
returns recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry recommend.evaluation_model;
  v_candidate record;
  v_deployed ml.model;
begin
  v_entry.model := _model_parts.model;
  v_entry.prior := 'popular';
  v_entry.parts := '[]';
  if _model_parts.model in ('popular', 'trending', 'latest') then
    v_entry.prior := _model_parts.model;
    return v_entry;
  elsif _model_parts.model = 'deployed' then
    select * into v_deployed from recommend._deployed_model(_model_parts.kind);
    if not found then
      perform common.refuse('CF006', format('no recommender of kind "%s" is deployed', left(_model_parts.kind, 100)),
        'Lists are ordered by popularity: the model "popular".');
    end if;
    v_entry.model_id := v_deployed.model_id;
    v_entry.prior := coalesce(v_deployed.parameters ->> 'prior', 'popular');
    v_entry.parts := coalesce(
      v_deployed.parameters -> 'parts',
      -- A version from before models had parts.
      jsonb_build_array(jsonb_build_object(
        'algorithm', 'ease', 'parameters', jsonb_build_object('lambda', v_deployed.parameters -> 'lambda')
      ))
    );
    return v_entry;
  end if;

  select known.* into v_candidate
  from recommend._candidates() as known
  where known.model = _model_parts.model
  limit 1;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no model "%s"', coalesce(left(_model_parts.model, 100), 'null')),
      format(
        'Did you mean "%s"? The models are %s.',
        common.nearest_name(_model_parts.model, names.list),
        array_to_string(names.list, ', ')
      )
    )
    from (
      select array_agg(known.model) || '{popular,trending,latest,deployed}'::text[] as list
      from recommend._candidates() as known
    ) as names;
  end if;
  v_entry.parts := jsonb_build_array(jsonb_build_object(
    'algorithm', v_candidate.algorithm,
    'share', 1,
    'history_decay', v_candidate.history_decay,
    'parameters', v_candidate.parameters
  ));
  return v_entry;
end;
$$;

comment on function recommend._model_parts(text, text) is $$
@behavior -*
Returns prior, parts and, for `deployed`, the version of a model by its name.
Errors: CF002 for an unknown name (names the nearest), CF006 for `deployed` when no version is deployed.
$$;
