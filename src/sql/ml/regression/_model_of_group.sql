create or replace function ml._model_of_group(design jsonb, keys text[], beta float8[], variables integer[])
returns text
language sql
stable
begin atomic
  -- The coefficients are literals in the statement, since a join with a temporary table could not run in parallel.
  select case
    when design -> 'groups' = '[]' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format(
      'join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key',
      keys, numbers.nth, listed.arrays, listed.names
    )
  end
  from (
    select
      coalesce(string_agg(
        case when design ? 'prepared' then format(', $%s as b%s', place, variable)
          else format(', %L::float8 as b%s', beta[place], variable) end,
        '' order by place
      ), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', (
        select array_agg(beta[(key_nth - 1) * cardinality(variables) + place] order by key_nth)
        from generate_series(1, cardinality(keys)) as key_nth
      )), '' order by place), '') as arrays,
      coalesce(string_agg(format(', b%s', variable), '' order by place), '') as names
    from unnest(variables) with ordinality as list (variable, place)
    where beta is not null
  ) as listed
  cross join (select array_agg(nth order by nth) as nth from generate_series(1, cardinality(keys)) as nth) as numbers;
end;

comment on function ml._model_of_group(jsonb, text[], float8[], integer[]) is $$
Returns the text of the join that adds to each row (`row`) the number and the coefficients of its group.
The coefficients are `fit.b0` for the intercept and `fit.b2` … by position.
`beta` contains the coefficients of the groups, one group after another. When the design has the key `prepared` and no
groups, they are the parameters of a prepared statement.
$$;

grant execute on function ml._model_of_group(jsonb, text[], float8[], integer[])
  to insights_analyst, insights_admin, insights_worker;
