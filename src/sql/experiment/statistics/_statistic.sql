create or replace function experiment._statistic(value jsonb, place text)
returns experiment.statistic
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_known constant jsonb := '{
    "proportion": ["type", "n", "sum", "before", "sum_products_before", "theta"],
    "mean": ["type", "n", "sum", "sum_squares", "before", "sum_products_before", "theta"],
    "ratio": ["type", "n", "numerator", "denominator", "sum_products", "numerator_before", "denominator_before",
      "products", "theta"],
    "quantile": ["type", "n", "n_star", "nu", "quantile_hat", "quantile_lower", "quantile_upper", "main_sum",
      "main_sum_squares", "denominator_sum", "denominator_sum_squares", "main_denominator_sum_product", "n_clusters"]
  }';
  v_type text;
  v_result experiment.statistic;
begin
  if value is null or jsonb_typeof(value) <> 'object' then
    perform common.refuse('CF001', format('%s is %s', left(place, 100), coalesce(left(value::text, 100), 'null')),
      'Give an object such as {"type": "proportion", "n": 1000, "sum": 120}.');
  end if;
  v_type := experiment._word_option(value, 'type', null::text, array['proportion', 'mean', 'ratio', 'quantile']);
  if v_type is null then
    perform common.refuse('CF001', format('type of %s is missing', left(place, 100)),
      'Give one of: proportion, mean, ratio, quantile.');
  end if;
  perform experiment._refuse_unknown(
    value, place, array(select jsonb_array_elements_text(v_known -> v_type))
  );
  v_result.type := v_type;
  v_result.is_adjusted := false;
  v_result.n := experiment._number(value, 'n', place);
  if v_result.n < 0 or v_result.n <> trunc(v_result.n) or v_result.n > 1e15 then
    perform common.refuse('CF001', format('n of %s is %s', left(place, 100), left((value -> 'n')::text, 100)),
      'Give a whole number from 0 to 1e15.');
  end if;
  if coalesce(value -> 'theta', 'null') <> 'null' then
    v_result.theta := experiment._number(value, 'theta', place);
  end if;
  return case v_type
    when 'quantile' then experiment._quantile_statistic(v_result, value, place)
    else experiment._summed_statistic(v_result, value, place)
  end;
end;
$$;

comment on function experiment._statistic(jsonb, text) is $$
Returns the sufficient statistics that a JSON object states, checked; see `experiment.compare` for the fields.
`place` is the name of the object in messages, such as `control`.
$$;

grant execute on function experiment._statistic(jsonb, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
