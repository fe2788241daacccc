/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._person_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.user_id is null and fields.anonymous_id is null
    then row(
      'CF001',
      'neither "userId" nor "anonymousId" is given',
      'Send "userId" for a signed-in person, or else "anonymousId".'
    )::track.problem
  when fields.user_id is not null
    and jsonb_typeof(fields.message -> 'userId') not in ('string', 'number', 'null')
    then row(
      'CF001', format('"userId" is a JSON %s', jsonb_typeof(fields.message -> 'userId')), 'Send a string.'
    )::track.problem
  when fields.anonymous_id is not null
    and jsonb_typeof(fields.message -> 'anonymousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"anonymousId" is a JSON %s', jsonb_typeof(fields.message -> 'anonymousId')),
      'Send a string.'
    )::track.problem
  when fields.previous_id is not null
    and jsonb_typeof(fields.message -> 'previousId') not in ('string', 'number', 'null')
    then row(
      'CF001',
      format('"previousId" is a JSON %s', jsonb_typeof(fields.message -> 'previousId')),
      'Send a string.'
    )::track.problem
  when length(fields.user_id) > 256 or length(fields.anonymous_id) > 256 or length(fields.previous_id) > 256
    then row(
      'CF008',
      format(
        'an id has %s characters',
        greatest(length(fields.user_id), length(fields.anonymous_id), length(fields.previous_id))
      ),
      'Send 256 at most.'
    )::track.problem
  when not sender.is_trusted and fields.user_id is not null and fields.user_id is distinct from fields.caller
    then row(
      'CF005',
      format('"userId" is "%s", who is not signed in', left(fields.user_id, 100)),
      'Sign in as that person, or send "anonymousId" only.'
    )::track.problem
  when fields.type = 'alias' and (fields.previous_id is null or fields.user_id is null)
    then row('CF001', '"alias" needs "previousId" and "userId"', 'Send both.')::track.problem
  when fields.type = 'alias' and not sender.is_trusted
    then row(
      'CF005',
      '"alias" is for servers',
      'Use "identify" with "anonymousId" and "userId", or send it with a worker''s token.'
    )::track.problem
  when fields.type = 'group' and fields.message ->> 'groupId' is null
    then row('CF001', '"group" needs "groupId"', 'Send it.')::track.problem
end;

comment on function track._person_problem(track.message_fields, track.message_sender) is $$
Returns the error of the identity of a message: missing, invalid, or not permitted for the sender; null when valid.
$$;

create or replace function track._placeholder_problem(field text, external_id text)
returns track.problem
language sql
stable
parallel safe
return row(
  'CF001',
  format('"%s" is "%s", which names nobody', field, left(external_id, 100)),
  'Send the id of a person or browser, or leave the field out. Administrators keep the list track.placeholder_id.'
)::track.problem;

comment on function track._placeholder_problem(text, text) is $$
Returns the error of an id that names nobody.
$$;
