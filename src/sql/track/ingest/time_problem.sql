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
  when fields.original_timestamp is not null and fields.original_at is null
    then row(
      'CF001',
      format('"timestamp" is "%s"', left(fields.original_timestamp, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.sent_at_text is not null and fields.sent_at is null
    then row(
      'CF001',
      format('"sentAt" is "%s"', left(fields.sent_at_text, 100)),
      'Send an ISO 8601 time such as 2026-02-28T09:30:00.000Z.'
    )::track.problem
  when fields.original_at > sender.newest and fields.sent_at_text is null
    then row(
      'CF001',
      format('the event''s time is %s, in the future', track._iso_time(fields.original_at)),
      'Check the client''s clock, or send "sentAt" so that it can be corrected.'
    )::track.problem
  when fields.original_at - fields.sent_at > sender.clock_tolerance and fields.sent_at > sender.newest
    then row(
      'CF001',
      format('the event''s time is %s, in the future', track._iso_time(fields.original_at)),
      'Check the client''s clock: it was set back after the event and is still ahead, so that it cannot be corrected.'
    )::track.problem
  when fields.occurred_at > sender.newest
    then row(
      'CF001',
      format('the time of arrival is %s, in the future', track._iso_time(fields.received_at)),
      'Check "receivedAt" and the clock of the server that sent it.'
    )::track.problem
  when fields.occurred_at < sender.oldest
    then row(
      'CF001',
      format('the event''s time is %s, too long ago', track._iso_time(fields.occurred_at)),
      format('The earliest accepted is %s.', track._iso_time(sender.oldest))
    )::track.problem
end;

comment on function track._time_problem(track.message_fields, track.message_sender) is $$
Returns the error of the times of a message; null when they are valid.
$$;
