create or replace function track._verify_browsers(messages track.parsed_message[], sender track.message_sender)
returns track.parsed_message[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_messages track.parsed_message[] := messages;
  v_message track.parsed_message;
  v_found record;
begin
  if sender.is_trusted then
    return v_messages;
  end if;
  for v_found in
    with said as materialized (
      select
        message.ordinality, message.external_id, message.identity_kind, message.anonymous_id, message.occurred_at
      from unnest(messages) with ordinality as message
      where message.problem is null
        and message.anonymous_id is not null
        and (message.identity_kind = 'anonymous' or message.type = 'identify')
    ),

    known as materialized (
      select
        name.anonymous_id,
        coalesce(bool_or(browser.identity_id is not null), false) as is_known,
        coalesce(bool_or(key.kind = 'user'), false) as is_linked,
        coalesce(bool_or(browser.browser = sender.browser), false) as is_proved,
        coalesce(
          bool_or(
            exists (
              select
              from track.identity_link as link
              join track.identity as person on person.identity_id = link.linked_identity_id
              where link.identity_id = browser.identity_id
                and link.kind = 'claim'
                and link.unlinked_at is null
                and person.external_id = sender.person
                and person.kind = 'user'
            )
          ),
          false
        ) as is_claimed
      from (select distinct said.anonymous_id from said) as name
      left join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
      left join track.identity as key on key.identity_id = browser.person_id
      group by name.anonymous_id
    )

    select
      said.ordinality,
      case
        when said.identity_kind = 'user' then 'claim'
        when sender.person is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(said.external_id, said.occurred_at)
            and own.external_id = sender.person
            and own.kind = 'user'
        ) then 'own'
        when known.is_claimed then 'claimed'
        else 'unverified'
      end as verdict
    from said
    join known using (anonymous_id)
    where not known.is_proved
      and case
        -- A browser that is new to us is that of the caller when the caller has the cookie.
        when said.identity_kind = 'user' then known.is_known or sender.browser is null
        else known.is_linked or known.is_claimed
      end
  loop
    v_message := v_messages[v_found.ordinality];
    case v_found.verdict
      when 'claim' then
        v_message.is_claim := true;
      when 'claimed' then
        v_message.identity_kind := 'user';
        v_message.external_id := sender.person;
        v_message.anonymous_id := null;
      when 'unverified' then
        v_message.identity_kind := 'unverified';
        v_message.anonymous_id := null;
      else
        continue;
    end case;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  return v_messages;
end;
$$;

comment on function track._verify_browsers(track.parsed_message[], track.message_sender) is $$
Returns the messages after the check of each `anonymousId` that a client sent: an id is a name, and not a proof.
The proof is the cookie with which the browser sent the id first. Without it, a message for a browser that belongs to a
person is stored as `unverified`, and `identify` is a claim: it counts for messages that its sender sends herself.
It is decided at arrival, because clients choose the times of their messages.
$$;
