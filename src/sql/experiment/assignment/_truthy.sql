create or replace function experiment._truthy(value jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  -- One use of the argument, so that the function is inlined.
  select coalesce(_truthy.value not in ('null', 'false', '0', '""'), false);
end;

comment on function experiment._truthy(jsonb) is $$
Returns whether JavaScript takes a JSON value for true: false for a missing one, null, false, 0 and an empty text.
$$;

grant execute on function experiment._truthy(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
