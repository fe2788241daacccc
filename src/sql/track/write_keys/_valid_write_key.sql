create or replace function track._valid_write_key(key_id int)
returns track.write_key
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key constant track.write_key := track._find_write_key(_valid_write_key.key_id);
begin
  if v_key.revoked_at is not null or v_key.expires_at <= statement_timestamp() then
    perform common.refuse(
      'CF001',
      format(
        'the write key %s (%s…) %s', v_key.key_id, v_key.preview,
        case when v_key.revoked_at is null then 'has expired' else 'is revoked' end
      ),
      'Create a new one: track.create_write_key.'
    );
  end if;
  return v_key;
end;
$$;

comment on function track._valid_write_key(int) is $$
Returns a write key, locked until the end of the transaction.
Raises CF002 for an unknown key, CF001 for one that is revoked or has expired.
$$;
