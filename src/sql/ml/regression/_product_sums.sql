/*
 * One transition of regr_sxy(a, b) gives the sums of a, b, a * a, b * b and a * b, and takes the time of less than two
 * of the transitions of sum(). So the variables are taken by twos: the Gram matrix of ten columns and y needs 57
 * transitions instead of 77. regr_count() also counts the rows in which both are known.
 */
create or replace function ml._product_variables(design ml.design, prefix text)
returns table (nth int, name text, mate text, is_first boolean)
language sql
stable
begin atomic
  select
    variable.nth, variable.name,
    case when design.weights is null and prefix = 'd' then
      case when variable.nth % 2 = 0 then lead(variable.name) over (order by variable.nth)
        else lag(variable.name) over (order by variable.nth) end
    end,
    variable.nth % 2 = 0
  from (
    select 0 as nth, 'y' as name
    union all
    select place::int, prefix || value
    from unnest(design.active) with ordinality as active (value, place)
  ) as variable;
end;

comment on function ml._product_variables(ml.design, text) is $$
Returns y and a design's columns, which are numbered from 0, by twos.
`mate` is the other one of two, null where sums are computed one by one: of the last of an odd number, with weights,
and in numeric.
$$;

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

create or replace function ml._every_row_complete(design ml.design)
returns text
language sql
stable
begin atomic
  select case
    when design.weights is not null then 'count(*) = count(*) filter (where complete)'
    else string_agg(
      case when mate is null then format('count(*) = count(%s)', name)
        else format('count(*) = regr_count(%s, %s)', name, mate) end,
      ' and ' order by nth
    ) filter (where is_first)
  end
  from ml._product_variables(design, 'd');
end;

comment on function ml._every_row_complete(ml.design) is $$
Returns the text of an aggregate condition over ml._rows: no row has a null.
$$;

grant execute on function
  ml._product_variables(ml.design, text),
  ml._product_sums(ml.design, text),
  ml._every_row_complete(ml.design)
to insights_analyst, insights_admin, insights_worker;
