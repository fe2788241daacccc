create or replace function ml._glm_terms(
  family text,
  link text,
  mean float8,
  out mu text,
  out rest text,
  out slope text,
  out variance text,
  out deviance text,
  out start_mu text,
  out start_eta text
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- mu and the rest 1 - mu (binomial only), null outside the range of the link; slope d mu / d eta; bounds prevent
  -- an overflow of exp
  mu := case link
    when 'identity' then case when family = 'gaussian' then 'eta' else 'case when eta > 0 then eta end' end
    when 'log' then 'exp(least(greatest(eta, -200), 200))'
    when 'logit' then '1 / (1 + exp(least(greatest(-eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(least(greatest(eta, -30), 30))'
    when 'inverse' then case
      when family = 'gaussian' then 'case when abs(eta) > 1e-30 then 1 / eta end'
      else 'case when eta > 1e-30 then 1 / eta end'
    end
    when 'sqr_inverse' then 'case when eta > 1e-60 then 1 / sqrt(eta) end'
    when 'sqrt' then 'case when eta > 0 and eta < 1e100 then eta * eta end'
  end;
  rest := case link
    when 'logit' then '1 / (1 + exp(least(greatest(eta, -100), 100)))'
    when 'probit' then 'ml._standard_normal_cdf(-least(greatest(eta, -30), 30))'
    else 'null::float8'
  end;
  slope := case link
    when 'identity' then '1'
    when 'log' then 'mu'
    when 'logit' then 'mu * rest'
    when 'probit' then '0.39894228040143267794 * exp(-least(eta * eta, 900) / 2)'
    when 'inverse' then '-mu * mu'
    when 'sqr_inverse' then '-mu * mu * mu / 2'
    when 'sqrt' then '2 * eta'
  end;
  variance := case family
    when 'gaussian' then '1'
    when 'binomial' then 'mu * rest'
    when 'poisson' then 'mu'
    when 'gamma' then 'mu * mu'
    when 'inverse_gaussian' then 'mu * mu * mu'
  end;
  deviance := case family
    when 'gaussian' then '(y - mu) * (y - mu)'
    when 'binomial' then '-2 * ln(case when y = 1 then mu else rest end)'
    when 'poisson' then '2 * (case when y > 0 then y * ln(y / mu) else 0 end - (y - mu))'
    when 'gamma' then '2 * ((y - mu) / mu - ln(y / mu))'
    when 'inverse_gaussian' then '(y - mu) * (y - mu) / (y * mu * mu)'
  end;
  -- starting values: near each row's own value (McCullagh and Nelder, 2.5)
  start_mu := case family
    when 'gaussian' then case link
      when 'identity' then 'y'
      when 'log' then format('greatest(y, %L::float8)', mean / 10)
      else format('case when abs(y) < %1$L::float8 then %2$L::float8 else y end', abs(mean) / 10, mean)
    end
    when 'binomial' then '(y + 0.5) / 2'
    when 'poisson' then 'y + 0.1'
    else 'y'
  end;
  start_eta := case link
    when 'identity' then 'mu'
    when 'log' then 'ln(mu)'
    when 'logit' then 'ln(mu / rest)'
    when 'probit' then '(y * 2 - 1) * 0.67448975019608174320'
    when 'inverse' then '1 / mu'
    when 'sqr_inverse' then '1 / (mu * mu)'
    when 'sqrt' then 'sqrt(mu)'
  end;
end;
$$;

comment on function ml._glm_terms(text, text, float8) is $$
Returns the SQL expressions of a family and link in terms of eta, mu, rest and y.
Source: McCullagh and Nelder, Generalized Linear Models, table 2.1.
$$;

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

create or replace function ml._glm_source(
  design ml.design,
  family text,
  link text,
  mean float8,
  fits ml.fit[],
  prepared boolean default false
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms record := ml._glm_terms(family, link, mean);
  v_carried text := ml._columns_of(design, 'd', ', %s', '')
    || case when design.clusters is not null then ', cluster' else '' end
    || case when design.weights is not null then ', prior' else '' end
    || case when design.offsets is not null then ', baseline' else '' end;
  v_prior constant text := case when design.weights is not null then 'prior * ' else '' end;
  v_source text;
begin
  -- row: the columns; first: eta; second: mu; third: weight, score and deviance
  v_source := format(
    '(select * from (%s) as row where complete) as row %s',
    ml._rows(design),
    ml._model_of_group(design, fits, ml._unknowns(design), prepared => prepared)
  );
  if fits[1].beta is null then
    v_source := format('(%s) as first', ml._layer(
      format('fit.nth, row.y%s', replace(v_carried, ', ', ', row.')),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, %s as mu, %s as rest',
        v_carried,
        v_terms.start_mu,
        case when family = 'binomial' then '(1.5 - y) / 2' else 'null::float8' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, mu, rest, %s as eta', v_carried, v_terms.start_eta),
      v_source
    ));
  else
    v_source := format('(%s) as first', ml._layer(
      format(
        'fit.nth, row.y%s, %s as eta',
        replace(v_carried, ', ', ', row.'),
        ml._linear_predictor(design, 'fit.b', 'row')
          || case when design.offsets is not null then ' + row.baseline' else '' end
      ),
      v_source
    ));
    v_source := format('(%s) as second', ml._layer(
      format('nth, y%s, eta, %s as mu, %s as rest', v_carried, v_terms.mu, v_terms.rest),
      v_source
    ));
  end if;
  if family = 'binomial' and link = 'logit' then
    v_source := format('(%s) as third', ml._layer(
      format(
        'nth, y%1$s, eta, mu, %2$smu * rest as weight, %2$scase when y = 1 then rest else -mu end as score, '
          || '%2$s(%3$s) as deviance',
        v_carried,
        v_prior,
        v_terms.deviance
      ),
      v_source
    ));
  else
    v_source := format('(%s) as second', ml._layer(
      format(
        'nth, y%s, eta, mu, (%s) as slope, %s(%s) / (%s) as ratio, %s(%s) as deviance',
        v_carried, v_terms.slope, v_prior, v_terms.slope, v_terms.variance, v_prior, v_terms.deviance
      ),
      v_source
    ));
    v_source := format('(%s) as third', ml._layer(
      format('nth, y%s, eta, mu, ratio * slope as weight, (y - mu) * ratio as score, deviance', v_carried),
      v_source
    ));
  end if;
  return v_source;
end;
$$;

comment on function ml._glm_source(ml.design, text, text, float8, ml.fit[], boolean) is $$
Returns the text of the subquery with the rows that one step of Fisher scoring sums.
It is named `third` and has the group's number, y, the columns, eta, mu, and each row's weight, score and deviance,
which are multiplied by its weight in the design. Without `beta` in the fits, eta starts from each row's own value.
$$;

grant execute on function
  ml._glm_terms(text, text, float8),
  ml._linear_predictor(ml.design, text, text),
  ml._glm_source(ml.design, text, text, float8, ml.fit[], boolean)
to insights_analyst, insights_admin, insights_worker;
