create or replace function analytics._value_count(breakdown text, top_values int)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when _value_count.breakdown is null then 1
    when _value_count.breakdown like 'set.%' then (
      select greatest(count(*), 1) + 1
      from track.person_set
      where starts_with(person_set.name, substr(_value_count.breakdown, length('set.') + 1) || '.')
    )
    -- Other values, and none.
    else _value_count.top_values + 2
  end;
end;
$$;

comment on function analytics._value_count(text, int) is $$
Returns the largest number of values that a breakdown can have, by which the size of a result is bounded.
$$;

grant execute on function analytics._value_count(text, int) to insights_reader;
