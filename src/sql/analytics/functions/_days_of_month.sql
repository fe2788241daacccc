create or replace function analytics._days_of_month(month date, first_day date, end_day date)
returns int
language sql
immutable
parallel safe
return (
  ((1::bigint << least(greatest(end_day - month, 0), 31)) - 1)
    & ~((1::bigint << least(greatest(first_day - month, 0), 31)) - 1)
)::int;

comment on function analytics._days_of_month(date, date, date) is $$
Returns the days of a month that are between two (`end_day` exclusive), as bits: `1 << (day - 1)` for each.
$$;

grant execute on function analytics._days_of_month(date, date, date) to insights_reader;
