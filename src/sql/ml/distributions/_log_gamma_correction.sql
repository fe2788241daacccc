create or replace function ml._log_gamma_correction(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select
    (
      1.0 / 12
      - (1.0 / 360 - (1.0 / 1260 - (1.0 / 1680 - (1.0 / 1188 - (691.0 / 360360 - z / 156) * z) * z) * z) * z) * z
    )
    / _log_gamma_correction.x
  from (values (1 / (_log_gamma_correction.x * _log_gamma_correction.x))) as inverse_square (z);
end;

comment on function ml._log_gamma_correction(float8) is $$
Returns the difference between ln gamma(x) and Stirling's formula, for x >= 10.
The series 1/(12x) - 1/(360x^3) + … Source: Abramowitz and Stegun 6.1.41.
$$;

grant execute on function ml._log_gamma_correction(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
