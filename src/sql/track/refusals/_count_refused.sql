create or replace function track._count_refused(
  messages track.parsed_message[], raw jsonb, source_id smallint, received_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most_samples constant int := 10;
  v_day constant date := (_count_refused.received_at at time zone 'UTC')::date;
begin
  insert into track.refusal (source_id, code, day, backend, messages)
  select _count_refused.source_id, (message.problem).code, v_day, pg_backend_pid(), count(*)
  from unnest(_count_refused.messages) as message
  where (message.problem).code is not null
  group by (message.problem).code
  order by (message.problem).code
  on conflict on constraint refusal_pkey do update
  set messages = refusal.messages + excluded.messages;

  -- One of each batch and code, so that the samples of a day are of several clients.
  insert into track.refusal_sample (source_id, code, day, hint, fields)
  select distinct on ((message.problem).code)
    _count_refused.source_id, (message.problem).code, v_day, (message.problem).hint,
    track._field_types(_count_refused.raw -> message.position)
  from unnest(_count_refused.messages) as message
  where (message.problem).code is not null
    and (
      select count(*)
      from track.refusal_sample
      where refusal_sample.source_id = _count_refused.source_id
        and refusal_sample.code = (message.problem).code
        and refusal_sample.day = v_day
    ) < v_most_samples
  order by (message.problem).code, message.position;
end;
$$;

comment on function track._count_refused(track.parsed_message[], jsonb, smallint, timestamptz) is $$
Counts the refused messages of a batch by code, and keeps samples of them without values.
`raw`: the list of messages as it was sent.
$$;

create or replace function track._field_types(message jsonb)
returns jsonb
language sql
stable
parallel safe
-- Names of fields are chosen by clients, too: only known ones are kept.
return coalesce(
  (
    select jsonb_object_agg(
      field.key,
      case jsonb_typeof(field.value)
        when 'string' then format('string of %s', length(field.value #>> '{}'))
        when 'array' then format('array of %s', jsonb_array_length(field.value))
        else jsonb_typeof(field.value)
      end
    )
    from jsonb_each(case jsonb_typeof(message) when 'object' then message end) as field
    where field.key in (
      'type', 'messageId', 'userId', 'anonymousId', 'previousId', 'groupId', 'event', 'name', 'properties', 'traits',
      'context', 'timestamp', 'originalTimestamp', 'sentAt', 'receivedAt'
    )
  ),
  '{}'
);

comment on function track._field_types(jsonb) is $$
Returns the JSON types of the known fields of a message, without values.
$$;
