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
    when 'inverse' then return 1 / nullif(v_eta, 0);
    when 'sqr_inverse' then return case when v_eta > 0 then 1 / sqrt(v_eta) end;
    when 'sqrt' then return v_eta * v_eta;
    else
      perform common.refuse('CF001', format('there is no link "%s"', left(link, 100)),
        'Links are identity, log, logit, probit, inverse, sqr_inverse and sqrt: the one of the training.');
  end case;
end;
$$;

comment on function ml.glm_predict(float8[], float8[], text) is $$
Expected value by a generalized linear model with the link it was trained with.
Null when an argument is null or holds a null, or outside the link's range. Error CF001 for another link, or when the
lengths differ.
$$;

grant execute on function ml.glm_predict(float8[], float8[], text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
