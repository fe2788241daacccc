/* A definer: it checks the signature and the person of a serving_id. The caller's rights decide what is sent. */
create or replace function recommend.feedback(
  feedback text,
  item text default null,
  value float8 default null,
  topic text default null,
  serving_id text default null
)
returns boolean
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_person constant text := nullif(current_setting('insights.person', true), '');
begin
  if v_person is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: an answer belongs to a person.');
  end if;
  return recommend._send_feedback(
    v_person, 'userId', feedback.feedback, feedback.item, feedback.value, feedback.topic, feedback.serving_id
  );
end;
$$;

comment on function recommend.feedback(text, text, float8, text, text) is $$
Stores an answer of the signed-in person to a recommendation, or about an item or a topic. It acts at once.
`feedback` is `show` (the row was seen), `click`, `like`, `dislike`, `rate` (with `value`, on the scale of the event
`Item Rated` in `recommend.event_weight`), `dismiss`, `know` (the content is known already), `dismiss_topic` (she is not
interested in `topic`, or in the topic of the item) or `withdraw` (revokes the earlier answers about the item or
topic). `serving_id` connects the answer with the row of the list; the item may then be left out.
The answer is an event (see `docs/events.md`) that `track.ingest` stores. Returns whether it is used: false when the
person has opted out of personalization or of what the event is stored for.
Errors: CF002 for an unknown `feedback` or item (names the nearest), CF001 for missing or contradictory arguments and
for the topic of an item without one,
CF005 for a `serving_id` that is too old or of another person and when no person is signed in, CF009 for one that is
not a valid one, CF008 for a topic of more than 500 characters, and those of the event.
$$;

grant execute on function recommend.feedback(text, text, float8, text, text) to insights_learner;
