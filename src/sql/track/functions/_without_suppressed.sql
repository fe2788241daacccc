create or replace function track._without_suppressed(named jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_erased text[];
begin
  if not exists (select from privacy.suppression) then
    return named;
  end if;
  v_erased := array(
    select suppressed.name
    from (
      select array_agg(distinct given.person) as people
      from jsonb_to_recordset(named) as given (person text)
    ) as listed
    cross join lateral privacy.suppressed(
      array_fill('user'::text, array[cardinality(listed.people)]), listed.people
    ) as suppressed
    where suppressed.lifted_at is null
  );
  if v_erased = '{}' then
    return named;
  end if;
  return (
    select coalesce(jsonb_agg(entry.value order by entry.ordinality), '[]')
    from jsonb_array_elements(named) with ordinality as entry
    where entry.value ->> 'person' <> all (v_erased)
  );
end;
$$;

comment on function track._without_suppressed(jsonb) is $$
Returns a list of objects without those whose `person` was erased (`privacy.suppression`).
$$;
