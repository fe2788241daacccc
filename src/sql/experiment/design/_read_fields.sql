create or replace function experiment._read_fields(definition jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set datestyle to 'ISO'
set intervalstyle to 'postgres'
as $$
declare
  v_names constant text[] := array(select field.name from experiment._definition_fields() as field);
  v_result jsonb := '{}';
  v_field record;
  v_value jsonb;
  v_size numeric;
  v_interval interval;
  v_unknown text;
begin
  if jsonb_typeof(_read_fields.definition) is distinct from 'object' then
    perform common.refuse('CF001', 'the definition of an experiment is not a JSON object',
      'Give an object with key, name, variations and goals.');
  elsif octet_length(_read_fields.definition::text) > 200000 then
    perform common.refuse('CF008', 'the definition of an experiment has more than 200,000 bytes', 'Make it smaller.');
  end if;
  select entry.key into v_unknown
  from jsonb_object_keys(_read_fields.definition) as entry (key)
  where entry.key <> all (v_names)
  order by entry.key
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('an experiment has no field "%s"', left(v_unknown, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_unknown, v_names) || '"?',
        'The fields are those of experiment.definition.')
    );
  end if;

  for v_field in select field.* from experiment._definition_fields() as field loop
    v_value := coalesce(nullif(_read_fields.definition -> v_field.name, 'null'), v_field.default_value);
    -- An empty list is the same as none.
    continue when v_value is null or v_field.type = 'array' and v_field.lowest = 0 and v_value = '[]';
    if jsonb_typeof(v_value) <> (
      case v_field.type when 'integer' then 'number' when 'interval' then 'string' else v_field.type end
    ) then
      perform experiment._refuse_field(v_field.name, v_value, format('Give %s %s.',
        case when v_field.type in ('array', 'object', 'integer', 'interval') then 'an' else 'a' end, v_field.type));
    end if;

    if v_field.type = 'interval' then
      begin
        v_interval := (v_value #>> '{}')::interval;
        if not (v_interval >= make_interval(secs => v_field.lowest::float8) and v_interval <= '10 years') then
          v_interval := null;
        end if;
      exception when data_exception or program_limit_exceeded then
        v_interval := null;
      end;
      if v_interval is null then
        perform experiment._refuse_field(v_field.name, v_value, format(
          'Give a duration from %s to 10 years, such as "14 days".',
          make_interval(secs => v_field.lowest::float8)
        ));
      end if;
      v_value := to_jsonb(v_interval::text);
    elsif v_field.choices is not null then
      if v_value #>> '{}' <> all (v_field.choices) then
        perform experiment._refuse_field(v_field.name, v_value, coalesce(
          'Did you mean "' || common.nearest_name(v_value #>> '{}', v_field.choices) || '"?',
          'Use ' || array_to_string(v_field.choices, ', ') || '.'
        ));
      end if;
    elsif v_field.lowest is not null then
      v_size := case v_field.type
        when 'string' then length(btrim(v_value #>> '{}'))
        when 'array' then jsonb_array_length(v_value)
        else (v_value #>> '{}')::numeric
      end;
      if not v_size between v_field.lowest and v_field.highest
        or v_field.type = 'integer' and v_size <> trunc(v_size)
      then
        perform experiment._refuse_field(v_field.name, v_value, format(
          case v_field.type
            when 'string' then 'Give from %s to %s characters.'
            when 'array' then 'Give a list of %s to %s elements.'
            when 'integer' then 'Give a whole number from %s to %s.'
            else 'Give a number from %s to %s.'
          end,
          v_field.lowest, v_field.highest
        ));
      end if;
      v_value := case v_field.type
        when 'integer' then to_jsonb(v_size::int)
        when 'number' then to_jsonb(experiment._double_of(v_size))
        else v_value
      end;
    end if;
    v_result := v_result || jsonb_build_object(v_field.name, v_value);
  end loop;
  return v_result;
end;
$$;

comment on function experiment._read_fields(jsonb) is $$
@behavior -*
Returns the fields of the definition of an experiment with their defaults, each checked by itself.
Errors: CF001 for an unknown field (names the nearest) and for a value of another type or outside its range, CF008.
$$;
