create or replace function track._find_write_key(key_id int)
returns track.write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key track.write_key;
begin
  select *
  into v_key
  from track.write_key
  where write_key.key_id = _find_write_key.key_id
  for update;
  if v_key.key_id is null then
    perform common.refuse(
      'CF002', format('there is no write key %s', coalesce(_find_write_key.key_id::text, 'null')),
      'The keys are the rows of track.write_key.'
    );
  end if;
  return v_key;
end;
$$;

comment on function track._find_write_key(int) is $$
Returns a write key, locked until the end of the transaction. Errors: CF002 for an unknown key.
$$;
