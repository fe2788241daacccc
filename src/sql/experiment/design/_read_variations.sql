create or replace function experiment._read_variations(variations jsonb)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fields constant text[] := '{key,name,value}';
  v_variation jsonb;
  v_field text;
  v_keys text[] := '{}';
begin
  if _read_variations.variations is null then
    perform common.refuse('CF001', 'the experiment has no variations',
      'Give the control and at least one other variation: [{"key": "control"}, {"key": "new"}].');
  end if;
  for v_variation in select entry.value from jsonb_array_elements(_read_variations.variations) as entry loop
    if jsonb_typeof(v_variation) <> 'object' then
      perform experiment._refuse_field('a variation', v_variation, 'Give an object such as {"key": "control"}.');
    end if;
    for v_field in select entry.key from jsonb_object_keys(v_variation) as entry (key) loop
      if v_field <> all (v_fields) then
        perform common.refuse(
          'CF001', format('a variation has no field "%s"', left(v_field, 100)),
          coalesce('Did you mean "' || common.nearest_name(v_field, v_fields) || '"?', 'Use key, name and value.')
        );
      end if;
    end loop;
    if jsonb_typeof(v_variation -> 'key') is distinct from 'string'
      or v_variation ->> 'key' !~ '^[a-z0-9][a-z0-9_-]{0,62}$'
    then
      perform experiment._refuse_field('the key of a variation', v_variation -> 'key',
        'Use lower case letters, digits, "_" and "-", at most 63 characters.');
    elsif jsonb_typeof(coalesce(v_variation -> 'name', '""')) <> 'string'
      or length(v_variation ->> 'name') not between 1 and 200
    then
      perform experiment._refuse_field('the name of a variation', v_variation -> 'name',
        'Give from 1 to 200 characters.');
    end if;
    -- In messages, the number of a variation is also its position; in names of sets, "-" is written "_".
    if v_variation ->> 'key' ~ '^[0-9]+$' and v_variation ->> 'key' <> cardinality(v_keys)::text then
      perform experiment._refuse_field('the key of a variation', v_variation -> 'key',
        format('A number is read as a position, and this one has the position %s.', cardinality(v_keys)));
    elsif replace(v_variation ->> 'key', '-', '_') = any (v_keys) then
      perform experiment._refuse_field('the key of a variation', v_variation -> 'key',
        'Each variation has a key of its own; "-" and "_" are not distinguished.');
    end if;
    v_keys := v_keys || replace(v_variation ->> 'key', '-', '_');
  end loop;
  return (
    select jsonb_agg(
      jsonb_build_object(
        'key', entry.value -> 'key',
        'name', coalesce(entry.value -> 'name', entry.value -> 'key'),
        'value', coalesce(entry.value -> 'value', entry.value -> 'key')
      )
      order by entry.place
    )
    from jsonb_array_elements(_read_variations.variations) with ordinality as entry (value, place)
  );
end;
$$;

comment on function experiment._read_variations(jsonb) is $$
@behavior -*
Returns the variations of a definition with name and value, which are the key unless they are given. Errors: CF001.
$$;
