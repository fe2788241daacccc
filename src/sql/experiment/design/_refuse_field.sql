create or replace function experiment._refuse_field(name text, value jsonb, hint text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  perform common.refuse(
    'CF001',
    format('%s is %s', _refuse_field.name, coalesce(left(_refuse_field.value::text, 100), 'null')),
    _refuse_field.hint
  );
end;
$$;

comment on function experiment._refuse_field(text, jsonb, text) is $$
@behavior -*
Raises CF001 for the value of a field of the definition of an experiment.
$$;
