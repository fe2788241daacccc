create or replace function ml._check_ensemble(project_id int, document jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if jsonb_typeof(document -> 'members') is distinct from 'array'
    or jsonb_array_length(document -> 'members') not between 2 and 20
    or exists (select from jsonb_array_elements(document -> 'members') as member
      where not (ml._is_double(member -> 'model_id') and ml._is_double(member -> 'weight')))
    or abs((select sum((member -> 'weight')::float8) from jsonb_array_elements(document -> 'members') as member) - 1)
      > 1e-9
  then
    perform common.refuse('CF009', 'the members of the ensemble are not 2 to 20 models with weights that sum to 1',
      'Use ml.register_ensemble.');
  end if;
  select case
    when (member.model).project_id <> _check_ensemble.project_id
      then format('version %s belongs to another project', (member.model).version)
    when (member.model).coefficients ->> 'kind' = 'ensemble'
      then format('version %s is an ensemble itself', (member.model).version)
    when (member.model).coefficients ? 'classes'
      then format('version %s has several classes', (member.model).version)
    when coalesce((member.model).coefficients ->> 'link', '') not in ('logit', 'identity')
      or ((member.model).coefficients ->> 'link' = 'identity' and not (
        (member.model).coefficients ->> 'kind' = 'trees' and (member.model).algorithm in ('tree', 'forest')
      ))
      then format('version %s does not answer with probabilities', (member.model).version)
  end
  into v_wrong
  from ml._members(document) as member
  order by 1
  limit 1;
  if v_wrong is not null then
    perform common.refuse('CF001', v_wrong, 'The members are classifiers of 0 and 1 of the same project.');
  end if;
end;
$$;

comment on function ml._check_ensemble(int, jsonb) is $$
Refuses an ensemble whose members are not classifiers of 0 and 1 of the project. Errors: CF001, CF006, CF009.
$$;

grant execute on function ml._check_ensemble(int, jsonb) to insights_admin, insights_worker;
