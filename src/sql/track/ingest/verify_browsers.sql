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
  -- Browsers that are known, that have the cookie of the caller, that belong to a user, that the caller has claimed.
  v_known text[];
  v_proved text[];
  v_linked text[];
  v_claimed text[] := '{}';
begin
  if sender.is_trusted then
    return v_messages;
  end if;

  select
    coalesce(array_agg(name.anonymous_id), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where browser.browser = sender.browser), '{}'),
    coalesce(array_agg(name.anonymous_id) filter (where person.identity_id is not null), '{}')
  into v_known, v_proved, v_linked
  from (
    select distinct message.anonymous_id
    from unnest(messages) as message
    where message.anonymous_id is not null
  ) as name
  join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
  left join track.identity as person on person.identity_id = browser.person_id and person.kind = 'user';

  -- Browsers of visitors, as a rule.
  if sender.person is null and v_linked = '{}' then
    return v_messages;
  end if;
  if sender.person is not null then
    v_claimed := array(
      select browser.external_id
      from track.identity as person
      join track.identity_link as link on link.linked_identity_id = person.identity_id
      join track.identity as browser on browser.identity_id = link.identity_id
      where person.external_id = sender.person
        and person.kind = 'user'
        and link.kind = 'claim'
        and link.unlinked_at is null
    );
  end if;
  -- A client may state any time: an earlier one would take events of the user who has identified since.
  for v_found in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.type = 'identify'
      and message.identity_kind = 'user'
      and message.anonymous_id = any (v_proved)
      and message.anonymous_id = any (v_linked)
      and exists (
        select
        from track.identity as browser
        join track.identity_link as link on link.identity_id = browser.identity_id
        join track.identity as person on person.identity_id = link.linked_identity_id
        where browser.external_id = message.anonymous_id
          and browser.kind = 'anonymous'
          and link.kind <> 'claim'
          and link.unlinked_at is null
          and link.linked_at >= message.occurred_at
          and person.external_id <> message.external_id
      )
  loop
    v_message := v_messages[v_found.ordinality];
    v_message.occurred_at := v_message.received_at;
    v_messages[v_found.ordinality] := v_message;
  end loop;
  for v_found in
    select
      message.ordinality,
      case
        when message.identity_kind = 'user' then 'claim'
        when sender.person is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(message.external_id, message.occurred_at)
            and own.external_id = sender.person
            and own.kind = 'user'
        ) then 'own'
        when message.anonymous_id = any (v_claimed) then 'claimed'
        else 'unverified'
      end as verdict
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.anonymous_id is not null
      and message.anonymous_id <> all (v_proved)
      and case message.identity_kind
        when 'anonymous' then message.anonymous_id = any (v_linked || v_claimed)
        -- A browser that is new to us is that of the caller when the caller has the cookie.
        else message.type = 'identify' and (sender.browser is null or message.anonymous_id = any (v_known))
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
