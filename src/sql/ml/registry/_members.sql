create or replace function ml._members(document jsonb)
returns table (model ml.model, weight float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_member record;
begin
  for v_member in
    select (listed.member ->> 'model_id')::bigint as model_id, listed.member ->> 'version' as version,
      (listed.member ->> 'weight')::float8 as weight
    from jsonb_array_elements(document -> 'members') with ordinality as listed (member, position)
    order by listed.position
  loop
    select known.* into model from ml.model as known where known.model_id = v_member.model_id;
    if model.model_id is null then
      perform common.refuse('CF006', format('version %s, a member of the ensemble, does not exist', v_member.version),
        'Register an ensemble of the versions that exist.');
    elsif model.marked_at is not null then
      perform common.refuse('CF006', format('version %s, a member of the ensemble, is marked for training',
        v_member.version), 'It is not used, because it was trained on data that may not be used any more. Train a new '
        || 'version, and register an ensemble with it.');
    end if;
    weight := v_member.weight;
    return next;
  end loop;
end;
$$;

comment on function ml._members(jsonb) is $$
The members of an ensemble and their weights, which sum to 1.
Error CF006: a member does not exist any more, or is marked for training.
$$;

grant execute on function ml._members(jsonb) to insights_reader, insights_analyst, insights_admin, insights_worker;
