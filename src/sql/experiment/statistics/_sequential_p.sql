create or replace function experiment._sequential_p(effect experiment.effect, options experiment.comparison)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_mixture constant float8 := effect.users
    * experiment._sequential_rho_squared(options.alpha, options.tuning, options.side = 'both');
  v_z constant float8 := greatest(
    least(effect.effect / effect.stddev * case when options.side = 'less' then -1 else 1 end, 1e50), -1e50
  );
  v_exponent constant float8 := case
    when abs(v_z) < 1e-50 then 0
    else v_z * v_z * v_mixture / (2 * (v_mixture + 1))
  end;
  v_log float8;
  v_exact float8;
  v_low float8 := 1e-5;
  v_high float8 := 0.4999;
  v_p float8 := (1e-5 + 0.4999) / 2;
  v_bound float8;
begin
  if options.side = 'both' then
    -- the reciprocal of the e-value, equation 155
    v_log := ln(v_mixture + 1) / 2 - v_exponent;
    return case when v_log >= 0 then 1 when v_log < -700 then 0 else exp(v_log) end;
  elsif v_z <= 0 or v_exponent < 1e-8 then
    return v_high;
  end if;
  -- the alpha at which the bound of equation 134 is 0
  v_log := ln(v_mixture + 1) / 2 - ln(2) - v_exponent
    - case when v_exponent > 30 then 0 else ln(1 - exp(-v_exponent)) end;
  v_exact := case when v_log < -700 then 0 else exp(least(v_log, 0)) end;
  if v_exact <= v_low or v_exact >= v_high then
    return least(v_exact, v_high);
  end if;
  -- gbstats' bisection, whose numbers are published: it stops at a bound near 0 and returns the next middle
  for step in 1..100 loop
    v_bound := v_z - sqrt(2 * (v_mixture + 1) / v_mixture * ln(1 + sqrt(v_mixture + 1) / (2 * v_p)));
    if v_bound < 0 then
      v_low := v_p;
    else
      v_high := v_p;
    end if;
    v_p := (v_low + v_high) / 2;
    exit when abs(v_bound) < 1e-5;
  end loop;
  -- below alpha exactly when the interval excludes 0
  return case when v_exact <= options.alpha then least(v_p, options.alpha) else greatest(v_p, options.alpha) end;
end;
$$;

comment on function experiment._sequential_p(experiment.effect, experiment.comparison) is $$
Returns the always-valid p-value: the smallest alpha whose confidence sequence excludes 0, with the rho of the options.
Of one side it is 0.4999 where no alpha below 0.5 excludes 0, and between that and 1e-5 accurate to about 1e-3.
$$;

grant execute on function experiment._sequential_p(experiment.effect, experiment.comparison)
to insights_reader, insights_analyst, insights_admin, insights_worker;
