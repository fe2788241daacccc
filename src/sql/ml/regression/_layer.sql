create or replace function ml._layer(columns text, source text)
returns text
language sql
stable
parallel safe
begin atomic
  -- The planner inlines the expressions of a subquery wherever they are used, so eta would be computed again in each of
  -- a hundred sums. It does not inline a subquery that calls a volatile function; pg_is_in_recovery is volatile,
  -- parallel safe, and only reads a variable. (`offset 0` and `materialized` prevent a parallel scan.)
  select format('select %s, pg_is_in_recovery() as layer from %s', columns, source);
end;

comment on function ml._layer(text, text) is $$
Returns the text of a select whose columns are computed once per row, however often they are used.
It can run in parallel.
$$;

grant execute on function ml._layer(text, text) to insights_analyst, insights_admin, insights_worker;
