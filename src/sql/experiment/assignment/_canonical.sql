create or replace function experiment._canonical(value text)
returns text
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if octet_length(_canonical.value) = length(_canonical.value) then
    return upper(_canonical.value collate "C");
  end if;
  return translate(
    upper(_canonical.value collate "C"), substr(experiment._cased(), 27), substr(experiment._capitals(), 27)
  );
end;
$$;

comment on function experiment._canonical(text) is $$
Returns a text as a case-insensitive regular expression of JavaScript compares it.
$$;

grant execute on function experiment._canonical(text)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
