create or replace function analytics.shown(figure float8, people bigint, smallest_group int)
returns float8
language sql
immutable
parallel safe
begin atomic
  select analytics._shown(shown.figure, shown.people, shown.smallest_group);
end;

comment on function analytics.shown(float8, bigint, int) is $$
@behavior -*
Returns a figure about a group of people as analysts see it, for rooms with reports of their own.
See `analytics._shown`: 0 for fewer people than `smallest_group`, otherwise rounded; null or 1: the exact figure.
$$;

grant execute on function analytics.shown(float8, bigint, int) to insights_reader;
