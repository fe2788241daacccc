/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._envelope_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when jsonb_typeof(fields.message) <> 'object'
    then row(
      'CF009',
      format('the message is a JSON %s', jsonb_typeof(fields.message)),
      'Send an object such as {"type": "track", …}.'
    )::track.problem
  when fields.type is null and fields.message ? 'unreadable'
    then row(
      'CF009',
      left(fields.message ->> 'unreadable', 100),
      'Send well-formed JSON without null bytes and unpaired surrogates.'
    )::track.problem
  when fields.is_extreme
    then row(
      'CF001',
      'the message holds a number beyond double precision',
      'Send a number from 1e-307 to 1e308, or a string.'
    )::track.problem
  when fields.type is null
    then row(
      'CF001', 'the message has no "type"', 'Use track, page, screen, identify, alias or group.'
    )::track.problem
  when fields.type not in ('track', 'page', 'screen', 'identify', 'alias', 'group')
    then row(
      'CF001',
      format('"type" is "%s"', left(fields.type, 100)),
      'Use track, page, screen, identify, alias or group.'
    )::track.problem
  when fields.message_id is null or fields.message_id = ''
    then row(
      'CF001', '"messageId" is missing', 'Give each message an id of its own; it makes retries safe.'
    )::track.problem
  when jsonb_typeof(fields.message -> 'messageId') <> 'string'
    then row(
      'CF001', format('"messageId" is a JSON %s', jsonb_typeof(fields.message -> 'messageId')), 'Send a string.'
    )::track.problem
  when length(fields.message_id) > 256
    then row(
      'CF008', format('"messageId" has %s characters', length(fields.message_id)), 'Send 256 at most.'
    )::track.problem
end;

comment on function track._envelope_problem(track.message_fields, track.message_sender) is $$
Returns the error of the type or id of a message, or of its format; null when they are valid.
$$;
