create or replace function experiment.in_namespace(value text, namespace jsonb)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if jsonb_typeof(in_namespace.namespace) <> 'array' then
    perform experiment._refuse_condition(in_namespace.namespace, 'a namespace', 'an array of a name and two numbers');
  end if;
  return jsonb_array_length(in_namespace.namespace) >= 3 and experiment._in_range(
    experiment.hash('__' || experiment._js_text(in_namespace.namespace -> 0), in_namespace.value, 1),
    experiment._js_number(in_namespace.namespace -> 1),
    experiment._js_number(in_namespace.namespace -> 2)
  );
end;
$$;

comment on function experiment.in_namespace(text, jsonb) is $$
Returns whether a value is in the range of a namespace, such as `["checkout", 0, 0.5]`.
The place is the hash of version 1 with two underscores and the name of the namespace as the seed; the high bound is
excluded.
$$;

grant execute on function experiment.in_namespace(text, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
