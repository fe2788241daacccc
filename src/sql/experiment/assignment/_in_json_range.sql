create or replace function experiment._in_json_range(n double precision, bounds jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(_in_json_range.bounds) is distinct from 'array' then
    perform experiment._refuse_condition(_in_json_range.bounds, 'a range', 'an array of two numbers');
  end if;
  return jsonb_array_length(_in_json_range.bounds) >= 2 and experiment._in_range(
    _in_json_range.n,
    experiment._js_number(_in_json_range.bounds -> 0),
    experiment._js_number(_in_json_range.bounds -> 1)
  );
end;
$$;

comment on function experiment._in_json_range(double precision, jsonb) is $$
Returns whether a number is in a range that is a JSON array of two numbers.
$$;

grant execute on function experiment._in_json_range(double precision, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
