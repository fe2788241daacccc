create or replace function ml._single_precision(value float8)
returns float8
language sql
immutable
parallel safe
begin atomic
  select case
    when abs(value) < 1.2e-38 then 0
    when abs(value) > 3.4e38 and abs(value) < 'Infinity' then sign(value) * 3.4e38
    else value::float4::float8
  end;
end;

comment on function ml._single_precision(float8) is $$
A number as libraries see it that keep their features in four bytes, such as XGBoost.
$$;

grant execute on function ml._single_precision(float8)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
