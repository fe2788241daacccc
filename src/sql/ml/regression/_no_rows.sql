create or replace function ml._no_rows(design ml.design)
returns text
language sql
stable
begin atomic
  select case
    when design.weights is not null then 'no row without a null has a weight above 0'
    else 'no row without a null'
  end;
end;

comment on function ml._no_rows(ml.design) is $$
Returns the failure of a group that has no complete row.
$$;

grant execute on function ml._no_rows(ml.design) to insights_analyst, insights_admin, insights_worker;
