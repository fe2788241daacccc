create or replace function experiment._read_weights(weights jsonb, variations int, is_bandit boolean)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weight jsonb;
  v_weights float8[] := '{}';
begin
  for v_weight in select entry.value from jsonb_array_elements(_read_weights.weights) as entry loop
    if jsonb_typeof(v_weight) <> 'number' or not (v_weight #>> '{}')::numeric between 0 and 1 then
      perform experiment._refuse_field('a weight', v_weight, 'Give numbers from 0 to 1.');
    end if;
    v_weights := v_weights || experiment._double_of((v_weight #>> '{}')::numeric);
  end loop;
  if 0 = any (v_weights) and not coalesce(_read_weights.is_bandit, false) then
    perform common.refuse(
      'CF001',
      case when v_weights[1] = 0 then 'the weight of the control is 0' else 'the weight of a variation is 0' end,
      'Leave out a variation that no person can get.'
    );
  end if;
  perform experiment._check_weights(v_weights, _read_weights.variations);
  return to_jsonb(v_weights);
end;
$$;

comment on function experiment._read_weights(jsonb, int, boolean) is $$
@behavior -*
Returns the weights of a definition as numbers of double precision. Errors: CF001.
$$;
