create or replace function ml._options(options text, allowed text[], what text)
returns jsonb
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result jsonb := '{}';
  v_option text;
  v_name text;
begin
  foreach v_option in array coalesce(common.split_expressions(nullif(btrim(options), '')), '{}') loop
    v_name := lower(btrim(split_part(v_option, '=', 1)));
    if position('=' in v_option) = 0 or v_name <> all (allowed) then
      perform common.refuse(
        'CF001',
        format('%s: there is no option "%s"', left(what, 100), left(v_option, 100)),
        coalesce(
          'Did you mean "' || common.nearest_name(v_name, allowed) || '"?',
          format(
            'Give name=value pairs, separated by commas; the names are %s.',
            array_to_string(array(select left(name, 60) from unnest(allowed) as name limit 30), ', ')
          )
        )
      );
    end if;
    v_result := v_result || jsonb_build_object(
      v_name, btrim(substr(v_option, position('=' in v_option) + 1), ' "''')
    );
  end loop;
  return v_result;
end;
$$;

comment on function ml._options(text, text[], text) is $$
Returns MADlib's `name=value, name=value` parameters as an object.
Error CF001 for an unknown name, with the nearest name.
$$;

grant execute on function ml._options(text, text[], text) to insights_analyst, insights_admin, insights_worker;
