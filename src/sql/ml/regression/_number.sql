create or replace function ml._number(options jsonb, name text, fallback float8, smallest float8, largest float8)
returns float8
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_value float8;
begin
  if options ->> name is null then
    return fallback;
  end if;
  begin
    v_value := (options ->> name)::float8;
  exception when invalid_text_representation or numeric_value_out_of_range then
    null;
  end;
  if v_value is null or not v_value between smallest and largest then
    perform common.refuse('CF001', format('%s is "%s"', left(name, 100), left(options ->> name, 100)),
      format('Give a number from %s to %s.', smallest, largest));
  end if;
  return v_value;
end;
$$;

comment on function ml._number(jsonb, text, float8, float8, float8) is $$
Returns a number from options, or `fallback` when it is absent. Error CF001 unless it is from `smallest` to `largest`.
$$;

grant execute on function ml._number(jsonb, text, float8, float8, float8)
  to insights_analyst, insights_admin, insights_worker;
