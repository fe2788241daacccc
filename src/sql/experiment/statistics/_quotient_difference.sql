create or replace function experiment._quotient_difference(
  numerator numeric,
  denominator numeric,
  other_numerator numeric,
  other_denominator numeric
)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (numerator * other_denominator - other_numerator * denominator)::float8
    / denominator::float8 / other_denominator::float8;
end;
$$;

comment on function experiment._quotient_difference(numeric, numeric, numeric, numeric) is $$
Returns the difference of two quotients, such as means.
The subtraction is exact, so that nearly equal means keep the digits of their difference.
$$;

grant execute on function experiment._quotient_difference(numeric, numeric, numeric, numeric)
to insights_reader, insights_analyst, insights_admin, insights_worker;
