create or replace function ml._normal_p_value(z float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_gamma(0.5, _normal_p_value.z * _normal_p_value.z / 2, true);
end;

comment on function ml._normal_p_value(float8) is $$
Returns the two-sided probability that a standard normal variable is at least as far from 0 as z.
$$;

grant execute on function ml._normal_p_value(float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
