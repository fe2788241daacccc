create or replace function experiment._option(options jsonb, field text, default_value float8)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if coalesce(options -> field, 'null') = 'null' then
    return default_value;
  end if;
  return experiment._number(options, field, 'options')::float8;
end;
$$;

comment on function experiment._option(jsonb, text, float8) is $$
Returns an option that is a number, or its default when it is absent or null.
$$;

grant execute on function experiment._option(jsonb, text, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._option(options jsonb, field text, default_value text, allowed text[])
returns text
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
  if jsonb_typeof(v_value) <> 'string' or v_value #>> '{}' <> all (allowed) then
    perform common.refuse('CF001', format('%s is %s', field, left(v_value::text, 100)),
      format('Give one of: %s.', array_to_string(allowed, ', ')));
  end if;
  return v_value #>> '{}';
end;
$$;

comment on function experiment._option(jsonb, text, text, text[]) is $$
Returns an option that is one of several words, or its default when it is absent or null.
$$;

grant execute on function experiment._option(jsonb, text, text, text[])
to insights_reader, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._option(options jsonb, field text, default_value boolean)
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

comment on function experiment._option(jsonb, text, boolean) is $$
Returns an option that is true or false, or its default when it is absent or null.
$$;

grant execute on function experiment._option(jsonb, text, boolean)
to insights_reader, insights_analyst, insights_admin, insights_worker;
