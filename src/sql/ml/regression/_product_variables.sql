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

grant execute on function ml._product_variables(ml.design, text) to insights_analyst, insights_admin, insights_worker;
