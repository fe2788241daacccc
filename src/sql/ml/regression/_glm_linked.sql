create or replace function ml._glm_linked(family text, link text, value float8, mean float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case link
    when 'identity' then value
    when 'log' then ln(greatest(value, 1e-10 * abs(mean)))
    when 'logit' then ln(value / (1 - value))
    when 'probit' then ml.normal_quantile(case when family = 'binomial' then value else 0.5 end)
    when 'inverse' then 1 / value
    when 'sqr_inverse' then 1 / (value * value)
    when 'sqrt' then sqrt(value)
  end;
end;
$$;

comment on function ml._glm_linked(text, text, float8, float8) is $$
Returns the link function at the mean `value` of a group; `mean` is that of all groups.
$$;

grant execute on function ml._glm_linked(text, text, float8, float8)
to insights_analyst, insights_admin, insights_worker;
