create or replace function ml._complete(design ml.design)
returns text
language sql
stable
begin atomic
  select format(
    'row(y%s%s%s) is not null%s',
    ml._columns_of(design, 'x', ', %s', ''),
    case when design.status is not null then ', status' else '' end,
    case when design.offsets is not null then ', baseline' else '' end,
    -- NaN, which stands for a weight that is not allowed, is larger than all numbers
    case when design.weights is not null then ' and prior > 0' else '' end
  );
end;

comment on function ml._complete(ml.design) is $$
Returns the text of the condition on ml._values that a row is fitted: none of its values is null, its weight is not 0.
$$;

grant execute on function ml._complete(ml.design) to insights_analyst, insights_admin, insights_worker;
