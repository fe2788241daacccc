create or replace function track._restore_escapes(part text, backslash text, escape text)
returns jsonb
language sql
immutable
parallel safe
return replace(replace(part, escape, '\u'), backslash, '\\')::jsonb;

comment on function track._restore_escapes(text, text, text) is $$
Returns a part of a body as jsonb, with its backslashes and Unicode escapes restored.
$$;

create or replace function track._read_one_by_one(document json, list json, backslash text, escape text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_message json;
  v_messages jsonb[] := '{}';
  v_sent_at jsonb;
  v_context jsonb;
begin
  for v_message in
    select value from json_array_elements(list)
  loop
    begin
      v_messages := v_messages || track._restore_escapes(v_message::text, backslash, escape);
    exception
      when untranslatable_character or invalid_text_representation then
        v_messages := v_messages
          || jsonb_build_object('unreadable', 'the message holds a null byte or an unpaired surrogate');
      when others then
        v_messages := v_messages || jsonb_build_object('unreadable', left(sqlerrm, 100));
    end;
  end loop;
  if json_typeof(document) = 'array' then
    return to_jsonb(v_messages);
  end if;
  begin
    v_sent_at := track._restore_escapes((document -> 'sentAt')::text, backslash, escape);
  exception
    when others then v_sent_at := '"unreadable"';
  end;
  begin
    v_context := track._restore_escapes((document -> 'context')::text, backslash, escape);
  exception
    when others then null;
  end;
  return jsonb_build_object('batch', v_messages, 'sentAt', v_sent_at, 'context', v_context);
end;
$$;

comment on function track._read_one_by_one(json, json, text, text) is $$
Returns a batch whose messages are read one by one.
A message that cannot be stored as jsonb becomes `{"unreadable": reason}`.
$$;
