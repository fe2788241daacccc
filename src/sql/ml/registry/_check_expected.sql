create or replace function ml._check_expected(model ml.model, expected jsonb)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_classes constant text[] := ml._classes(ml._document(model));
  v_entry record;
  v_answer float8;
  v_probabilities float8[];
begin
  if jsonb_typeof(expected) is distinct from 'array' or jsonb_array_length(expected) not between 1 and 1000 then
    perform common.refuse('CF009', format('the expected answers are %s', left(expected::text, 100)),
      'Give a list of 1 to 1000: [{"features": {"tax": 590}, "prediction": 0.7}].');
  end if;
  for v_entry in select entry, position from jsonb_array_elements(expected) with ordinality as listed (entry, position)
    order by position
  loop
    if jsonb_typeof(v_entry.entry -> 'features') is distinct from 'object'
      or (v_classes is null and coalesce(jsonb_typeof(v_entry.entry -> 'prediction'), '') not in ('number', 'null'))
      or (v_classes is not null and not coalesce(
        jsonb_typeof(v_entry.entry -> 'prediction') = 'array'
        and jsonb_array_length(v_entry.entry -> 'prediction') = cardinality(v_classes)
        and (select bool_and(jsonb_typeof(share) = 'number')
          from jsonb_array_elements(v_entry.entry -> 'prediction') as share),
        false
      )) then
      perform common.refuse('CF009',
        format('expected answer %s is %s', v_entry.position, left(v_entry.entry::text, 100)),
        case when v_classes is null then 'Give {"features": {"tax": 590}, "prediction": 0.7}.'
          else 'Give {"features": {"tax": 590}, "prediction": [0.1, 0.2, 0.7]}, the probability of each class.' end);
    end if;
    if v_classes is not null then
      v_probabilities := ml._class_probabilities(model, v_entry.entry -> 'features');
      if exists (
        select
        from jsonb_array_elements_text(v_entry.entry -> 'prediction') with ordinality as listed (share, place)
        where abs(share::numeric - v_probabilities[place]::numeric) > 1e-5
      ) then
        perform common.refuse(
          'CF009',
          format('expected answer %s is %s, and the model answers %s', v_entry.position,
            left((v_entry.entry -> 'prediction')::text, 100), left(to_jsonb(v_probabilities)::text, 100)),
          'Compare the order of the classes, the order and the types of the features, the objective and the base score.'
        );
      end if;
      continue;
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
