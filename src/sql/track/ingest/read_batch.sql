create or replace function track._check_message_count(messages int, largest_batch int)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_message_count.messages > _check_message_count.largest_batch then
    perform common.refuse(
      'CF008',
      format('the batch has %s messages', _check_message_count.messages),
      format('Send %s at most in one batch.', _check_message_count.largest_batch)
    );
  end if;
end;
$$;

comment on function track._check_message_count(int, int) is $$
Raises CF008 for a batch of more messages than `track.setting.largest_batch`.
$$;

create or replace function track._read_context(context jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The context of the batch is copied to each message: it is short, and no more than what is read.
  v_longest_context constant int := 4096;
  v_context constant jsonb := (
    select jsonb_object_agg(part.key, part.value)
    from jsonb_each(case jsonb_typeof(_read_context.context) when 'object' then _read_context.context end) as part
    where part.key in ('consent', 'gpc', 'page', 'timezone', 'userAgent', 'userAgentData')
  );
begin
  if pg_column_size(v_context) > v_longest_context then
    perform common.refuse(
      'CF008',
      format(
        'the "context" of the batch has %s bytes about consent, page, timezone and user agent',
        pg_column_size(v_context)
      ),
      format('Send %s at most, and the rest in the "context" of each message.', v_longest_context)
    );
  end if;
  if track._holds_extreme_number(v_context) then
    perform common.refuse(
      'CF001',
      'the "context" of the batch holds a number beyond double precision',
      'Send a number from 1e-307 to 1e308, or a string.'
    );
  end if;
  return v_context;
end;
$$;

comment on function track._read_context(jsonb) is $$
Returns the fields of the `context` of a batch that apply to all messages; null when there are none.
Errors: CF008 above 4096 bytes, CF001 for a number beyond double precision.
$$;

create or replace function track._read_batch(batch jsonb)
returns track.message_batch
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- GraphQL clients and forms send the batch as a string that holds JSON.
  v_body jsonb := case jsonb_typeof(batch) when 'string' then track._read_text(batch #>> '{}') else batch end;
  v_batch track.message_batch;
begin
  if jsonb_typeof(v_body) = 'object' and v_body ? 'type' then
    v_body := jsonb_build_array(v_body);
  end if;
  v_batch.messages := case jsonb_typeof(v_body) when 'array' then v_body else v_body -> 'batch' end;
  if jsonb_typeof(v_batch.messages) is distinct from 'array' then
    perform common.refuse(
      'CF009',
      format('the batch is not a list of messages, but a JSON %s', coalesce(jsonb_typeof(v_body), 'null')),
      'Send a JSON list of messages, or {"batch": […], "sentAt": "…"}.'
    );
  end if;
  perform track._check_message_count(
    jsonb_array_length(v_batch.messages), (select setting.largest_batch from track.setting)
  );
  v_batch.sent_at := left(v_body ->> 'sentAt', 100);
  v_batch.context := track._read_context(v_body -> 'context');
  return v_batch;
end;
$$;

comment on function track._read_batch(jsonb) is $$
Returns a batch in a uniform format.
The argument is a list, one message, `{batch, sentAt, context}`, or a string with any of these. Errors: CF009 for
anything else, CF008 for too many messages or a context that is too long.
$$;
