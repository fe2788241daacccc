/* PostgreSQL holds no surrogates in text, so the 2,048 last characters of Unicode, for private use, stand for them. */
create or replace function experiment._units(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _units.value !~ '[\U00010000-\U0010ffff]' collate "C" then
    return _units.value;
  end if;
  return (
    select string_agg(experiment._unit(unit.unit), '' order by unit.number)
    from unnest(experiment._code_units(_units.value)) with ordinality as unit (unit, number)
  );
end;
$$;

comment on function experiment._units(text) is $$
Returns a text with a character for each UTF-16 code unit, as a regular expression of JavaScript reads it.
$$;

grant execute on function experiment._units(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
