create or replace function experiment._in_range(
  n double precision,
  low double precision,
  high double precision
)
returns boolean
language sql
immutable
parallel safe
begin atomic
  -- NaN is in no range and bounds none; PostgreSQL sorts it last.
  select coalesce(
    _in_range.n >= _in_range.low
    and _in_range.n < _in_range.high
    and _in_range.n <> 'nan'
    and _in_range.high <> 'nan',
    false
  );
end;

comment on function experiment._in_range(double precision, double precision, double precision) is $$
Returns whether a number is in a range, its low bound included and its high bound excluded.
$$;

grant execute on function experiment._in_range(double precision, double precision, double precision)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
