create or replace function ml._model_of_group(
  design ml.design,
  fits ml.fit[],
  unknowns integer[],
  categories integer default null,
  prepared boolean default false
)
returns text
language sql
stable
begin atomic
  -- The coefficients are literals in the statement, since a join with a temporary table could not run in parallel.
  select case
    when design.groups = '{}' then format('cross join (select 1 as nth%s) as fit', listed.scalars)
    else format(
      'join unnest(%L::text[], %L::int[]%s) as fit (key, nth%s) on fit.key = row.key',
      numbered.keys, numbered.places, listed.arrays, listed.names
    )
  end
  from (
    select
      array_agg(fit.group_key order by fit.ordinality) as keys,
      array_agg(fit.ordinality order by fit.ordinality) as places
    from unnest(fits) with ordinality as fit
  ) as numbered
  cross join (
    select
      coalesce(string_agg(
        case
          when prepared then format(', $%s as b%s', term.nth, term.name)
          else format(', %L::float8 as b%s', term.coefficients[1], term.name)
        end,
        '' order by term.nth
      ), '') as scalars,
      coalesce(string_agg(format(', %L::float8[]', term.coefficients), '' order by term.nth), '') as arrays,
      coalesce(string_agg(format(', b%s', term.name), '' order by term.nth), '') as names
    from (
      select
        row_number() over (order by c, nth) as nth,
        case when categories is null then place::text else format('%s_%s', c, place) end as name,
        array(
          select case when categories is null then fit.beta[place] else fit.beta[c][place] end
          from unnest(fits) with ordinality as fit
          order by fit.ordinality
        ) as coefficients
      from generate_series(1, coalesce(categories, 1)) as c
      cross join unnest(unknowns) with ordinality as list (place, nth)
      where fits[1].beta is not null
    ) as term
  ) as listed;
end;

comment on function ml._model_of_group(ml.design, ml.fit[], integer[], integer, boolean) is $$
Returns the text of the join that adds to each row (`row`) the number of its group among the fits, and its coefficients.
The coefficients are `fit.b1` …, by position, or `fit.b1_1` …, by category and position, when there are categories; none
when the fits have no `beta`. With `prepared` and without groups, they are the parameters of a prepared statement, in
that order.
$$;

grant execute on function ml._model_of_group(ml.design, ml.fit[], integer[], integer, boolean)
to insights_analyst, insights_admin, insights_worker;
