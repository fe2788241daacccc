create or replace function ml._label(design jsonb, place integer)
returns text
language sql
stable
begin atomic
  select case
    when (design ->> 'array')::boolean then format('%s (element %s)', design -> 'x' ->> 0, place)
    else format('"%s"', design -> 'x' ->> place - 1)
  end;
end;

comment on function ml._label(jsonb, integer) is $$
Returns the name of the independent variable at a position, for messages.
$$;

grant execute on function ml._label(jsonb, integer) to insights_analyst, insights_admin, insights_worker;
