create or replace function ml._columns_of(
  design jsonb,
  prefix text,
  template text default '%s',
  separator text default ', '
)
returns text
language sql
stable
begin atomic
  select coalesce(string_agg(format(template, prefix || position), separator order by position), '')
  from jsonb_array_elements_text(design -> 'active') with ordinality as active (value, nth),
    lateral (select value::int) as part (position);
end;

comment on function ml._columns_of(jsonb, text, text, text) is $$
Returns a text that lists the active columns of a design by a template, such as `, d2, d3`.
$$;

grant execute on function ml._columns_of(jsonb, text, text, text) to insights_analyst, insights_admin, insights_worker;
