create or replace function ml.normal_quantile(p float8, mean float8 default 0, sd float8 default 1)
returns float8
language plpgsql
immutable
parallel safe
strict
set search_path to pg_catalog, pg_temp
as $$
declare
  v_tail constant float8 := least(p, 1 - p);
  v_middle constant float8 := p - 0.5;
  v_t float8;
  v_z float8;
  v_error float8;
begin
  if not p > 1e-300 or not p < 1 then
    perform common.refuse('CF001', format('%s is not a probability between 0 and 1', p),
      'A quantile is computed for 1e-300 < p < 1.');
  end if;
  if sd = 'NaN' or not sd >= 0 or sd = 'infinity' or mean in ('NaN', 'infinity', '-infinity') then
    perform common.refuse('CF001', format('the mean is %s and the standard deviation %s', mean, sd),
      'Give numbers, the standard deviation from 0.');
  end if;
  if p = 0.5 then
    return mean;
  end if;
  if abs(v_middle) < 0.1 then
    -- The error function keeps its digits near 0, where the tail has lost them.
    v_z := 2.506628274631000502415765284811 * v_middle;
    for step in 1..4 loop
      v_error := (sign(v_z) * ml._incomplete_gamma(0.5, v_z * v_z / 2, false) / 2 - v_middle)
        * 2.506628274631000502415765284811 * exp(v_z * v_z / 2);
      v_z := v_z - v_error / (1 + v_z * v_error / 2);
    end loop;
  else
    -- Abramowitz and Stegun 26.2.23 has an error of 4.5e-4; each step of Halley's method triples the digits
    v_t := sqrt(-2 * ln(v_tail));
    v_z := -(
      v_t - (2.515517 + 0.802853 * v_t + 0.010328 * v_t * v_t)
        / (1 + 1.432788 * v_t + 0.189269 * v_t * v_t + 0.001308 * v_t * v_t * v_t)
    );
    for step in 1..3 loop
      v_error := (ml._incomplete_gamma(0.5, v_z * v_z / 2, true) / 2 - v_tail)
        * 2.506628274631000502415765284811 * exp(v_z * v_z / 2);
      v_z := v_z - v_error / (1 + v_z * v_error / 2);
    end loop;
    v_z := case when p < 0.5 then v_z else -v_z end;
  end if;
  -- Beyond double precision.
  if ln(greatest(sd, 1e-300)) + ln(greatest(abs(v_z), 1e-300)) > 709 or abs(mean) > 1e308 then
    perform common.refuse('CF001', format('the mean is %s and the standard deviation %s', mean, sd),
      'The quantile is out of the range of double precision.');
  end if;
  return mean + ml._finite_range(sd) * v_z;
end
$$;

comment on function ml.normal_quantile(float8, float8, float8) is $$
Returns the normal quantile: the value that a normal variable does not exceed with probability p, to about 14 digits.
Error CF001 unless 1e-300 < p < 1, and the mean and a standard deviation from 0 are finite.
$$;

grant execute on function ml.normal_quantile(float8, float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
