create or replace function ml.elastic_net_predict(regress_family text, coefficients float8[], intercept float8, ind_var float8[])
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
begin
  case lower(regress_family)
    when 'gaussian', 'linear' then return ml.elastic_net_gaussian_predict(coefficients, intercept, ind_var);
    when 'binomial', 'logistic' then return (ml.elastic_net_binomial_prob(coefficients, intercept, ind_var) > 0.5)::int;
    else
      perform common.refuse('CF001', format('there is no family "%s"', left(regress_family, 100)),
        'Give gaussian or binomial.');
  end case;
end;
$$;

comment on function ml.elastic_net_predict(text, float8[], float8, float8[]) is $$
Prediction of an elastic net, as MADlib's.
The value (gaussian), or the class as 0 or 1 (binomial; the probability is
ml.elastic_net_binomial_prob). `coefficients` is coef_all. Error CF001 for an unknown family, or when the lengths
differ.
$$;

grant execute on function ml.elastic_net_predict(text, float8[], float8, float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
