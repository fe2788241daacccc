create or replace function experiment._json_number(value double precision)
returns jsonb
language sql
immutable
parallel safe
begin atomic
  select experiment._double_text(
    least(greatest(_json_number.value, -1.7976931348623157e308), 1.7976931348623157e308)
  )::jsonb;
end;

comment on function experiment._json_number(double precision) is $$
Returns a double precision number as JSON in its least digits, whatever the session sets.
$$;

grant execute on function experiment._json_number(double precision)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
