create or replace function ml._check_expected(model ml.model, expected jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry record;
  v_answer float8;
begin
  if jsonb_typeof(expected) is distinct from 'array' or jsonb_array_length(expected) not between 1 and 1000 then
    perform common.refuse('CF009', format('the expected answers are %s', left(expected::text, 100)),
      'Give a list of 1 to 1000: [{"features": {"tax": 590}, "prediction": 0.7}].');
  end if;
  for v_entry in select entry, position from jsonb_array_elements(expected) with ordinality as listed (entry, position)
    order by position
  loop
    if jsonb_typeof(v_entry.entry -> 'features') is distinct from 'object'
      or coalesce(jsonb_typeof(v_entry.entry -> 'prediction'), '') not in ('number', 'null') then
      perform common.refuse('CF009',
        format('expected answer %s is %s', v_entry.position, left(v_entry.entry::text, 100)),
        'Give {"features": {"tax": 590}, "prediction": 0.7}.');
    end if;
    v_answer := ml._predict(model, v_entry.entry -> 'features');
    -- Libraries add up in four bytes.
    if not coalesce(
      abs(v_answer::numeric - (v_entry.entry ->> 'prediction')::numeric)
        <= 1e-5 * greatest(1, abs((v_entry.entry ->> 'prediction')::numeric)),
      v_answer is null and v_entry.entry ->> 'prediction' is null
    ) then
      perform common.refuse(
        'CF009',
        format('expected answer %s is %s, and the model answers %s', v_entry.position,
          left(v_entry.entry ->> 'prediction', 40), coalesce(v_answer::text, 'null')),
        'Compare the order and the types of the features, the objective, the base score and the booster.'
      );
    end if;
  end loop;
end;
$$;

comment on function ml._check_expected(ml.model, jsonb) is $$
Refuses a model whose answers are not those that its document expects, within 1e-5.
Error CF009 names the first that differs; CF001 a feature that is not given.
$$;

grant execute on function ml._check_expected(ml.model, jsonb) to insights_admin, insights_worker;
