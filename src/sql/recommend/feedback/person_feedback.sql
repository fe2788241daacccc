/* A definer: workers look up people without privileges on the tables. The caller's rights decide what is sent. */
create or replace function recommend.person_feedback(
  person text,
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
begin
  perform recommend._check_person(person_feedback.person);
  return recommend._send_feedback(
    person_feedback.person,
    -- A name that is known only as that of a browser; a new one is that of a user.
    case
      when (
        select identity.kind
        from track.identity
        where identity.identity_id = track.find_identity(person_feedback.person)
      ) = 'anonymous' then 'anonymousId'
      else 'userId'
    end,
    person_feedback.feedback, person_feedback.item, person_feedback.value, person_feedback.topic,
    person_feedback.serving_id
  );
end;
$$;

comment on function recommend.person_feedback(text, text, text, float8, text, text) is $$
Stores an answer of a person to a recommendation, or about an item or a topic: `recommend.feedback` for a server.
`person` is a `userId` or `anonymousId`; a name that is not known is that of a new user. The other arguments, the result
and the errors are those of `recommend.feedback`; CF001 also for an empty name.
$$;

grant execute on function recommend.person_feedback(text, text, text, float8, text, text)
to insights_admin, insights_worker;
