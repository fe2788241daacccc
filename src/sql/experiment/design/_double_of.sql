create or replace function experiment._double_of(value numeric)
returns double precision
language sql
immutable
strict
parallel safe
begin atomic
  -- Smaller ones are out of the range of double precision.
  select case when abs(_double_of.value) < 1e-300 then 0 else _double_of.value::double precision end;
end;

comment on function experiment._double_of(numeric) is $$
@behavior -*
Returns a number of at most 1e300 in double precision; the smallest ones are 0.
$$;
