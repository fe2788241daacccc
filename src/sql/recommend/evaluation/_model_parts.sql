create or replace function recommend._model_parts(kind text, model text)
returns recommend.evaluation_model
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry recommend.evaluation_model;
  v_part recommend.part;
  v_deployed ml.model;
begin
  v_entry.model := _model_parts.model;
  v_entry.prior := 'popularity';
  v_entry.parts := '[]';
  if _model_parts.model in ('popularity', 'trending', 'latest') then
    v_entry.prior := _model_parts.model;
  elsif _model_parts.model = 'deployed' then
    select * into v_deployed from recommend._deployed_model(_model_parts.kind);
    if not found then
      perform common.refuse('CF006', format('no recommender of kind "%s" is deployed', left(_model_parts.kind, 100)),
        'Lists are ordered by popularity: the model "popularity".');
    end if;
    v_entry.model_id := v_deployed.model_id;
    v_entry.prior := coalesce(v_deployed.parameters ->> 'prior', 'popularity');
    v_entry.parts := coalesce(
      v_deployed.parameters -> 'parts',
      -- A version of EASE from before models had parts.
      jsonb_build_array(to_jsonb((
        'ease', jsonb_build_object('lambda', v_deployed.parameters -> 'lambda'), 1, 1
      )::recommend.part))
    );
  else
    begin
      v_part := recommend._read_model(_model_parts.model);
    exception when sqlstate 'CF002' then
      -- The models that exist on a platform only have near names too.
      if exists (
        select
        from (values ('latest'), ('deployed')) as known (name)
        where known.name = common.nearest_name(_model_parts.model, array(
          select candidate.model from recommend._candidates() as candidate
        ) || '{latest,deployed}'::text[])
      ) then
        perform common.refuse('CF002', format('there is no model "%s"', left(_model_parts.model, 100)),
          format('Did you mean "%s"?', common.nearest_name(_model_parts.model, '{latest,deployed}')));
      end if;
      raise;
    end;
    v_entry.parts := jsonb_build_array(to_jsonb(v_part));
  end if;
  return v_entry;
end;
$$;

comment on function recommend._model_parts(text, text) is $$
@behavior -*
Returns prior, parts and, for `deployed`, the version of a model by its name.
Errors: CF001 and CF002 as in `recommend._read_model`, CF006 for `deployed` when no version is deployed.
$$;
