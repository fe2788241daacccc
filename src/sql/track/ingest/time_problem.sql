/*
 * Rules of validation, as the table in README.md lists them: the first rule that a message breaks is its problem.
 * One expression over the fields, which the planner puts in place of the call.
 */
create or replace function track._time_problem(fields track.message_fields, sender track.message_sender)
returns track.problem
language sql
stable
parallel safe
return case
  when fields.original_timestamp is not null
    and (fields.original_at is null or not isfinite(fields.original_at))
    then row(
      'CF001',
      format('"timestamp" is "%s"', left(fields.original_timestamp, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.sent_at_text is not null and (fields.sent_at is null or not isfinite(fields.sent_at))
    then row(
      'CF001',
      format('"sentAt" is "%s"', left(fields.sent_at_text, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.occurred_at > sender.newest
    then row(
      'CF001',
      format(
        'the event''s time is %s, in the future',
        to_char(fields.occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')
      ),
      'Check the client''s clock, or send "sentAt" so that it can be corrected.'
    )::track.problem
  when fields.occurred_at < sender.oldest
    then row(
      'CF001',
      format(
        'the event''s time is %s, too long ago',
        to_char(fields.occurred_at at time zone 'UTC', 'FMYYYY-MM-DD"T"HH24:MI:SS"Z"')
      ),
      format('The earliest accepted is %s.', to_char(sender.oldest at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
    )::track.problem
end;

comment on function track._time_problem(track.message_fields, track.message_sender) is $$
Returns the error of the times of a message; null when they are valid.
$$;
