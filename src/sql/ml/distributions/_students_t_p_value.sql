create or replace function ml._students_t_p_value(t float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select ml._incomplete_beta(
    _students_t_p_value.nu / 2,
    0.5,
    1 / (1 + _students_t_p_value.t * _students_t_p_value.t / _students_t_p_value.nu),
    1 / (1 + _students_t_p_value.nu / nullif(_students_t_p_value.t * _students_t_p_value.t, 0))
  )
  where _students_t_p_value.t <> 0
  union all
  select 1
  where _students_t_p_value.t = 0;
end;

comment on function ml._students_t_p_value(float8, float8) is $$
Returns the two-sided probability that Student's t with `nu` degrees of freedom is at least as far from 0 as t.
$$;

grant execute on function ml._students_t_p_value(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
