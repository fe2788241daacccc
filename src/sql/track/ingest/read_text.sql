create or replace function track._read_text(body text)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_longest_body constant int := 64 * 1024 * 1024;
  v_largest_batch constant int := (select largest_batch from track.setting);
  -- Each message but the first has a comma before it.
  v_may_be_too_many constant boolean := octet_length(body) - octet_length(replace(body, ',', '')) >= v_largest_batch;
  -- Random, so that no text can hold them.
  v_backslash constant text := left(gen_random_uuid()::text, 13);
  v_escape constant text := left(gen_random_uuid()::text, 13);
  v_document json;
  v_list json;
begin
  if octet_length(body) > v_longest_body then
    perform common.refuse(
      'CF008',
      format('the batch has %s bytes', octet_length(body)),
      format('Send %s at most in one batch.', v_longest_body)
    );
  end if;
  if not v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  -- Too many messages, or one that jsonb cannot hold while json can: the others are still good. Not even json can read
  -- an object with an escape for an invalid character, so escapes are replaced until the messages are apart.
  begin
    v_document := replace(replace(body, '\\', v_backslash), '\u', v_escape)::json;
    v_list := case json_typeof(v_document) when 'array' then v_document when 'object' then v_document -> 'batch' end;
    if json_typeof(v_document) = 'object' and v_list is null then
      v_list := json_build_array(v_document);
    end if;
  exception
    when others then
      perform common.refuse(
        'CF009',
        format('the batch is not JSON: "%s"', left(body, 40) || case when length(body) > 40 then '…' else '' end),
        'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.'
      );
  end;
  if v_list is null or json_typeof(v_list) <> 'array' then
    return 'null'::jsonb;
  end if;
  -- Counted before the conversion to jsonb, which takes ten times as long.
  perform track._check_message_count(json_array_length(v_list), v_largest_batch);
  if v_may_be_too_many then
    begin
      return body::jsonb;
    exception
      when others then null;
    end;
  end if;

  return track._read_one_by_one(v_document, v_list, v_backslash, v_escape);
end;
$$;

comment on function track._read_text(text) is $$
Returns a batch that was sent as text.
A message that cannot be stored as jsonb (a null byte, an unpaired surrogate) becomes `{"unreadable": reason}`; the
others are not changed.
Errors: CF008 for too many messages or bytes, CF009 for text that is not JSON.
$$;
