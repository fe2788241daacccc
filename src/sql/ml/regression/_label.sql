create or replace function ml._label(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select case
    when design.packed then format('%s (element %s)', design.x[1], place)
    else format('"%s"', design.x[place])
  end;
end;

comment on function ml._label(ml.design, integer) is $$
Returns the name of the independent variable at a position, for messages.
$$;

grant execute on function ml._label(ml.design, integer) to insights_analyst, insights_admin, insights_worker;
