create or replace function experiment._sequential_width(
  stddev float8,
  users float8,
  alpha float8,
  tuned_alpha float8,
  tuning float8,
  is_two_sided boolean
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_mixture constant float8 := users * experiment._sequential_rho_squared(tuned_alpha, tuning, is_two_sided);
begin
  return stddev * sqrt(
    2 * (v_mixture + 1) / v_mixture * case
      when is_two_sided then ln(sqrt(v_mixture + 1) / alpha)
      else ln(1 + sqrt(v_mixture + 1) / (2 * alpha))
    end
  );
end;
$$;

comment on function experiment._sequential_width(float8, float8, float8, float8, float8, boolean) is $$
Returns half the width of an asymptotic confidence sequence, which holds at all times at once.
Waudby-Smith and others, arXiv 2103.06476: equation 9, and 134 for one side.
$$;

grant execute on function experiment._sequential_width(float8, float8, float8, float8, float8, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._sequential_rho_squared(alpha float8, tuning float8, is_two_sided boolean)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_log constant float8 := -2 * ln(case when is_two_sided then alpha else 2 * alpha end);
begin
  return (v_log + ln(v_log + 1)) / tuning;
end;
$$;

comment on function experiment._sequential_rho_squared(float8, float8, boolean) is $$
Returns the square of rho, for which the sequence is narrowest at `tuning` users (arXiv 2103.06476, equation 161).
$$;

grant execute on function experiment._sequential_rho_squared(float8, float8, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
