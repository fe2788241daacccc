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

grant execute on function ml._every_row_complete(ml.design) to insights_analyst, insights_admin, insights_worker;
