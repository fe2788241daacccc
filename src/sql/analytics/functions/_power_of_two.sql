create or replace function analytics._power_of_two(number float8)
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rounded, because the last digits of a logarithm depend on the platform.
  return case
    when number > 0 then power(2::float8, ceil(round((ln(number) / ln(2::float8))::numeric, 9))::float8)
  end;
end;
$$;

comment on function analytics._power_of_two(float8) is $$
Returns the smallest power of two that is not below a number; null for 0 and less. For the units of rounding.
$$;

grant execute on function analytics._power_of_two(float8) to insights_reader;
