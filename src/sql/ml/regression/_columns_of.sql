create or replace function ml._columns_of(
  design ml.design,
  prefix text,
  template text default '%s',
  separator text default ', '
)
returns text
language sql
stable
begin atomic
  select coalesce(string_agg(format(template, prefix || place), separator order by place), '')
  from unnest(design.active) as place;
end;

comment on function ml._columns_of(ml.design, text, text, text) is $$
Returns a text that lists the active columns of a design by a template, such as `, d2, d3`.
$$;

grant execute on function ml._columns_of(ml.design, text, text, text)
to insights_analyst, insights_admin, insights_worker;
