create or replace function ml._classes(document jsonb)
returns text[]
language sql
immutable
parallel safe
begin atomic
  select case when document ? 'classes' then array(
    select name
    from jsonb_array_elements_text(document -> 'classes') with ordinality as listed (name, position)
    order by position
  ) end;
end;

comment on function ml._classes(jsonb) is $$
The classes of a model of several, in the order of its scores; null for a model with one answer.
$$;

grant execute on function ml._classes(jsonb) to insights_reader, insights_analyst, insights_admin, insights_worker;
