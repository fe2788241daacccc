create or replace function ml._linear_predictor(settled ml.design, model text, row_name text)
returns text
language sql
stable
parallel safe
begin atomic
  select string_agg(
    case
      when place = settled.intercept then format('%s%s', model, place)
      else format('%s%s * %s.d%s', model, place, row_name, place)
    end,
    ' + ' order by nth
  )
  from unnest(ml._unknowns(settled)) with ordinality as list (place, nth);
end;

comment on function ml._linear_predictor(ml.design, text, text) is $$
Returns the text of the sum of coefficients times columns, such as `fit.b1 + fit.b2 * row.d2` for the model `fit.b`.
$$;

grant execute on function ml._linear_predictor(ml.design, text, text)
to insights_analyst, insights_admin, insights_worker;
