create or replace function ml._product_sums(design ml.design, prefix text)
returns text[]
language sql
stable
begin atomic
  with weight as (
    select case when design.weights is not null then 'prior * ' else '' end as factor
  ),
  variable as (
    select
      listed.nth, listed.name, listed.mate,
      case when listed.is_first then format('(%s, %s)', listed.name, listed.mate)
        else format('(%s, %s)', listed.mate, listed.name) end as pair,
      case when listed.is_first then 'y' else 'x' end as side
    from ml._product_variables(design, prefix) as listed
  ),
  product as (
    select
      row_variable.nth as row_nth,
      column_variable.nth as column_nth,
      case
        when row_variable.mate is not null and row_variable.nth = column_variable.nth then format(
          'regr_s%2$s%2$s%1$s + regr_count%1$s * regr_avg%2$s%1$s * regr_avg%2$s%1$s', row_variable.pair,
          row_variable.side
        )
        when row_variable.mate = column_variable.name then format(
          'regr_sxy%1$s + regr_count%1$s * regr_avgx%1$s * regr_avgy%1$s', row_variable.pair
        )
        else format('sum(%s%s * %s)', weight.factor, row_variable.name, column_variable.name)
      end as term
    from variable as row_variable
    join variable as column_variable on column_variable.nth >= row_variable.nth
    cross join weight
  )
  select
    (
      select array_agg(
        case when mate is not null then format('regr_count%1$s * regr_avg%2$s%1$s', pair, side)
          else format('sum(%s%s)', factor, name) end
        order by nth
      )
      from variable
      cross join weight
    )
    || (select array_agg(term order by row_nth, column_nth) from product)
    || case when design.weights is not null then '{sum(prior)}'::text[] end;
end;

comment on function ml._product_sums(ml.design, text) is $$
Returns the aggregates that compute the sums and the Gram matrix of a design's columns and y.
The last is the sum of the weights if there are weights. `prefix` is d, the columns in double precision, or x, in
numeric: then each term is one aggregate.
$$;

grant execute on function ml._product_sums(ml.design, text) to insights_analyst, insights_admin, insights_worker;
