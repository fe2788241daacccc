create or replace function ml._finite_range(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    -- greatest() and least() would ignore a null.
    when _finite_range.x is null or _finite_range.x = 'NaN' then _finite_range.x
    when abs(_finite_range.x) < 1e-100 then 0
    else greatest(least(_finite_range.x, 1e100), -1e100)
  end;
end;

comment on function ml._finite_range(float8) is $$
Returns x, at most 1e100 in absolute value, and 0 below 1e-100; null and NaN as they are.
Products, squares and quotients of such numbers do not overflow or underflow, which are errors in SQL; no distribution
function changes in its first 16 digits between these bounds and infinity, or 0.
$$;

grant execute on function ml._finite_range(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
