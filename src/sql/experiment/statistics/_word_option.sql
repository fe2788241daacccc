create or replace function experiment._word_option(options jsonb, field text, default_value text, allowed text[])
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
    perform common.refuse('CF001', format('%s is %s', left(field, 100), left(v_value::text, 100)),
      format('Give one of: %s.', left((select string_agg(left(word, 100), ', ') from unnest(allowed) as word), 900)));
  end if;
  return v_value #>> '{}';
end;
$$;

comment on function experiment._word_option(jsonb, text, text, text[]) is $$
Returns an option that is one of several words, or its default when it is absent or null.
$$;

grant execute on function experiment._word_option(jsonb, text, text, text[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
