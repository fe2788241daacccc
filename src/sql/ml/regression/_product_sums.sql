create or replace function ml._product_sums(design ml.design, prefix text)
returns text[]
language sql
stable
begin atomic
  with weight as (
    select case when design.weights is not null then 'prior * ' else '' end as factor
  ),
  variable as (
    select 0 as nth, 'y' as name
    union all
    select nth, prefix || value
    from unnest(design.active) with ordinality as active (value, nth)
  ),
  product as (
    select
      row_variable.nth as row_nth,
      column_variable.nth as column_nth,
      format('sum(%s%s * %s)', weight.factor, row_variable.name, column_variable.name) as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
    cross join weight
  )
  select
    (select array_agg(format('sum(%s%s)', factor, name) order by nth) from variable cross join weight)
    || (select array_agg(term order by row_nth, column_nth) from product)
    || case when design.weights is not null then '{sum(prior)}'::text[] end;
end;

comment on function ml._product_sums(ml.design, text) is $$
Returns the aggregates that compute the sums and the Gram matrix of a design's columns and y.
The last is the sum of the weights if there are weights.
$$;

grant execute on function ml._product_sums(ml.design, text) to insights_analyst, insights_admin, insights_worker;
