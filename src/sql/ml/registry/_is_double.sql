create or replace function ml._is_double(value jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select coalesce(jsonb_typeof(value) = 'number'
    and (value::numeric = 0 or abs(value::numeric) between 1e-300 and 1e300), false);
end;

comment on function ml._is_double(jsonb) is $$Whether a JSON value is a number that a double can hold.$$;

grant execute on function ml._is_double(jsonb)
  to insights_reader, insights_analyst, insights_admin, insights_worker;
