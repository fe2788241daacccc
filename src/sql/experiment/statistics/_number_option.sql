create or replace function experiment._number_option(options jsonb, field text, default_value float8)
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

comment on function experiment._number_option(jsonb, text, float8) is $$
Returns an option that is a number, or its default when it is absent or null.
$$;

grant execute on function experiment._number_option(jsonb, text, float8)
to insights_reader, insights_analyst, insights_admin, insights_worker;
