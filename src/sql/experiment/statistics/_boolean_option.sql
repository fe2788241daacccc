create or replace function experiment._boolean_option(options jsonb, field text, default_value boolean)
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value constant jsonb := options -> field;
begin
  if coalesce(v_value, 'null') = 'null' then
    return default_value;
  end if;
  if jsonb_typeof(v_value) <> 'boolean' then
    perform common.refuse('CF001', format('%s is %s', field, left(v_value::text, 100)), 'Give true or false.');
  end if;
  return v_value::boolean;
end;
$$;

comment on function experiment._boolean_option(jsonb, text, boolean) is $$
Returns an option that is true or false, or its default when it is absent or null.
$$;

grant execute on function experiment._boolean_option(jsonb, text, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
