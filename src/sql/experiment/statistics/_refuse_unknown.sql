create or replace function experiment._refuse_unknown(object jsonb, place text, known text[])
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key text;
  v_known constant text := left((select string_agg(left(name, 100), ', ') from unnest(known) as name), 900);
begin
  if object is null or jsonb_typeof(object) <> 'object' then
    perform common.refuse(
      'CF001',
      format('%s is %s', left(place, 100), coalesce(left(object::text, 100), 'null')),
      format('Give an object with some of: %s.', v_known)
    );
  end if;
  select given.key
  into v_key
  from jsonb_object_keys(object) as given (key)
  where given.key <> all (known)
  order by given.key
  limit 1;
  if v_key is not null then
    perform common.refuse(
      'CF001',
      format('%s has the field "%s"', left(place, 100), left(v_key, 100)),
      coalesce(
        'Did you mean "' || left(common.nearest_name(v_key, known), 100) || '"?',
        format('The fields are: %s.', v_known)
      )
    );
  end if;
end;
$$;

comment on function experiment._refuse_unknown(jsonb, text, text[]) is $$
Raises CF001 unless a value is an object with known fields only. `place` is its name in the message.
$$;

grant execute on function experiment._refuse_unknown(jsonb, text, text[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
