create or replace function analytics._is_by_day(breakdown text, smallest_group int)
returns boolean
language sql
immutable
parallel safe
return breakdown is not null and coalesce(smallest_group > 1, false);

comment on function analytics._is_by_day(text, int) is $$
Returns whether the values of a breakdown are groups of each day: those that analysts see.
$$;

grant execute on function analytics._is_by_day(text, int) to insights_reader;
