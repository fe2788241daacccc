create or replace function experiment._doubles(value jsonb, depth int default 0)
returns jsonb
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _doubles.depth = 0 and _doubles.value::text !~ '[0-9.]{16}' then
    return _doubles.value;
  end if;
  perform experiment._check_depth(_doubles.depth);
  return case jsonb_typeof(_doubles.value)
    when 'number' then experiment._json_number(experiment._double(_doubles.value #>> '{}'))
    when 'array' then (
      select coalesce(jsonb_agg(experiment._doubles(element.value, _doubles.depth + 1) order by element.number), '[]')
      from jsonb_array_elements(_doubles.value) with ordinality as element (value, number)
    )
    when 'object' then (
      select coalesce(jsonb_object_agg(member.key, experiment._doubles(member.value, _doubles.depth + 1)), '{}')
      from jsonb_each(_doubles.value) as member
    )
    else _doubles.value
  end;
end;
$$;

comment on function experiment._doubles(jsonb, integer) is $$
Returns JSON with each number as JavaScript holds it, a double precision number in its least digits.
A number beyond the largest becomes the largest, where JavaScript has Infinity, which JSON cannot hold.
$$;

grant execute on function experiment._doubles(jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
