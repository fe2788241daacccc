create or replace function ml._log1p(x float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  -- (1 + x) - 1 is the rounded argument of ln: dividing by it cancels the rounding error (Goldberg 1991, theorem 4)
  select case when 1 + _log1p.x = 1 then _log1p.x else ln(1 + _log1p.x) * _log1p.x / ((1 + _log1p.x) - 1) end;
end;

comment on function ml._log1p(float8) is $$Returns ln(1 + x), accurate for small x.$$;

grant execute on function ml._log1p(float8) to insights_reader, insights_analyst, insights_admin, insights_worker;
