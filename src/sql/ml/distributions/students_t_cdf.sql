create or replace function ml.students_t_cdf(x float8, nu float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when students_t_cdf.x < 0 then ml._students_t_p_value(students_t_cdf.x, students_t_cdf.nu) / 2
    else 1 - ml._students_t_p_value(students_t_cdf.x, students_t_cdf.nu) / 2
  end;
end;

comment on function ml.students_t_cdf(float8, float8) is $$
Returns Student's t distribution function at x with nu > 0 degrees of freedom.
`nu` need not be an integer. By the incomplete beta function.
$$;

grant execute on function ml.students_t_cdf(float8, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
