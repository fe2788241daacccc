create or replace function ml._shortened(expression text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case when length(expression) > 70 then left(expression, 69) || '…' else expression end;
end;

comment on function ml._shortened(text) is $$Returns an expression, or the beginning of a long one, for messages.$$;

create or replace function ml._label(design ml.design, place integer)
returns text
language sql
stable
begin atomic
  select case
    when design.packed then format('%s (element %s)', ml._shortened(design.x[1]), place)
    else format('"%s"', ml._shortened(design.x[place]))
  end;
end;

comment on function ml._label(ml.design, integer) is $$
Returns the name of the independent variable at a position, for messages.
$$;

grant execute on function ml._shortened(text), ml._label(ml.design, integer)
to insights_analyst, insights_admin, insights_worker;
