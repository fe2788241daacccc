create or replace function ml._next_double(value float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when abs(value) < 1e-290 then value + 5e-324
    when abs(value) > 1.797e308 then value
    -- Just above half of the last place, which rounds to a whole one.
    else value + abs(value) * 1.11022313e-16
  end;
end;

comment on function ml._next_double(float8) is $$
The smallest double above a number: x <= value is x < this.
$$;

grant execute on function ml._next_double(float8) to insights_admin, insights_worker;
