create or replace function ml.glm_predict(coef float8[], col_ind_var float8[], link text)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_eta constant float8 := ml.linregr_predict(coef, col_ind_var);
begin
  case lower(link)
    when 'identity' then return v_eta;
    -- greatest() and least() ignore a null.
    when 'log' then return case when v_eta is not null then exp(least(greatest(v_eta, -700), 700)) end;
    when 'logit' then return ml.logregr_predict_prob(coef, col_ind_var);
    when 'probit' then return ml.normal_cdf(v_eta);
    when 'inverse' then return case when abs(v_eta) > 1e-300 then 1 / v_eta end;
    when 'sqr_inverse' then return case when v_eta > 0 then 1 / sqrt(v_eta) end;
    when 'sqrt' then return ml._times(v_eta, v_eta);
    else
      perform common.refuse('CF001', format('there is no link "%s"', left(link, 100)),
        'Give the link of the training: identity, log, logit, probit, inverse, sqr_inverse or sqrt.');
  end case;
end;
$$;

comment on function ml.glm_predict(float8[], float8[], text) is $$
Returns the expected value by a generalized linear model; `link` is the link of the training.
Null when an argument is null or contains a null, or outside the range of the link. Error CF001 for an unknown link or
when the lengths differ.
$$;

grant execute on function ml.glm_predict(float8[], float8[], text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
