/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._content_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.type = 'track'
    and (fields.event is null or fields.event = '' or jsonb_typeof(fields.message -> 'event') <> 'string')
    then row(
      'CF001', '"track" needs "event"', 'Send the name of the event, a string such as "Task Submitted".'
    )::track.problem
  when length(fields.event) > 200
    then row(
      'CF008',
      format('"event" has %s characters', length(fields.event)),
      'Send 200 at most, and details in "properties".'
    )::track.problem
  when jsonb_typeof(fields.properties) <> 'object'
    then row(
      'CF001', format('"properties" is a JSON %s', jsonb_typeof(fields.properties)), 'Send an object.'
    )::track.problem
  when jsonb_typeof(fields.traits) <> 'object'
    then row(
      'CF001', format('"traits" is a JSON %s', jsonb_typeof(fields.traits)), 'Send an object.'
    )::track.problem
  when fields.type = 'identify' and jsonb_typeof(fields.context -> 'traits') not in ('object', 'null')
    then row(
      'CF001', format('"context.traits" is a JSON %s', jsonb_typeof(fields.context -> 'traits')), 'Send an object.'
    )::track.problem
  when pg_column_size(fields.message) > sender.longest_message / 2
    and octet_length(fields.message::text) > sender.longest_message
    then row(
      'CF008',
      format('the message has %s bytes', octet_length(fields.message::text)),
      format('Send %s at most.', sender.longest_message)
    )::track.problem
  when jsonb_typeof(fields.properties -> 'item') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"properties.item" is a JSON %s', jsonb_typeof(fields.properties -> 'item')),
      'Send the external id of an item, a string.'
    )::track.problem
  when length(fields.properties ->> 'item') > 512
    then row(
      'CF008',
      format('"properties.item" has %s characters', length(fields.properties ->> 'item')),
      'Send 512 at most.'
    )::track.problem
  when sender.is_trusted and jsonb_typeof(fields.properties -> 'parent') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"properties.parent" is a JSON %s', jsonb_typeof(fields.properties -> 'parent')),
      'Send the external id of an item, a string.'
    )::track.problem
  when sender.is_trusted and length(fields.properties ->> 'parent') > 512
    then row(
      'CF008',
      format('"properties.parent" has %s characters', length(fields.properties ->> 'parent')),
      'Send 512 at most.'
    )::track.problem
  when fields.properties ->> 'itemKind' !~ '^[a-z][a-z0-9_]{0,62}$'
    -- The kind of items that are only a further name of another one.
    or fields.properties ->> 'itemKind' = 'merged'
    then row(
      'CF001',
      format('"properties.itemKind" is "%s"', left(fields.properties ->> 'itemKind', 100)),
      'Use a lower case word such as course, module, task, page or video.'
    )::track.problem
  when jsonb_typeof(fields.properties -> 'duration') = 'number'
    and (fields.properties ->> 'duration')::numeric < 0
    then row(
      'CF001',
      format('"properties.duration" is %s', left(fields.properties ->> 'duration', 40)),
      'A duration is zero or more.'
    )::track.problem
end;

comment on function track._content_problem(track.message_fields, track.message_sender) is $$
Returns the error of the content of a message (event, properties, traits, size); null when it is valid.
$$;
