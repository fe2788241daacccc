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
  -- Browsers that belong to a user.
  v_linked text[];
  -- Places of the messages with the cookie of their browser, and of those whose caller has claimed it.
  v_proved bigint[];
  v_claimed bigint[];
begin
  if sender.is_trusted then
    return v_messages;
  end if;

  v_linked := array(
    select browser.external_id
    from (
      select distinct message.anonymous_id
      from unnest(messages) as message
      where message.anonymous_id is not null
    ) as name
    join track.identity as browser on browser.external_id = name.anonymous_id and browser.kind = 'anonymous'
    join track.identity as person on person.identity_id = browser.person_id and person.kind = 'user'
  );
  -- Browsers of visitors, as a rule.
  if v_linked = '{}' and not exists (select from unnest(messages) as message where message.caller is not null) then
    return v_messages;
  end if;

  -- A browser that is new is that of the first request that names it.
  v_proved := array(
    select unnest(name.places)
    from (
      select
        message.anonymous_id, message.browser, array_agg(message.ordinality) as places,
        min(message.ordinality) = min(min(message.ordinality)) over (partition by message.anonymous_id) as is_first
      from unnest(messages) with ordinality as message
      where message.problem is null
        and message.anonymous_id is not null
      group by message.anonymous_id, message.browser
    ) as name
    cross join lateral (
      select count(*) > 0 as is_known, coalesce(bool_or(known.browser = name.browser), false) as is_same
      from track.identity as known
      where known.external_id = name.anonymous_id
        and known.kind = 'anonymous'
    ) as browser
    where name.browser is not null
      and case when browser.is_known then browser.is_same else name.is_first end
  );
  -- By an earlier batch, or by an earlier message of this one.
  v_claimed := array(
    select message.place
    from (
      select
        message.caller, message.anonymous_id, array_agg(message.ordinality) as places,
        min(message.ordinality) filter (
          where message.problem is null
            and message.type = 'identify'
            and message.identity_kind = 'user'
            and message.ordinality <> all (v_proved)
        ) as claimed_by
      from unnest(messages) with ordinality as message
      where message.caller is not null
        and message.anonymous_id is not null
      group by message.caller, message.anonymous_id
    ) as name
    cross join lateral (
      select exists (
        select
        from track.identity as person
        join track.identity_link as link on link.linked_identity_id = person.identity_id
        join track.identity as browser on browser.identity_id = link.identity_id
        where person.external_id = name.caller
          and person.kind = 'user'
          and link.kind = 'claim'
          and link.unlinked_at is null
          and browser.external_id = name.anonymous_id
      ) as is_claimed
    ) as stored
    cross join lateral unnest(name.places) as message (place)
    where stored.is_claimed
      or message.place > name.claimed_by
  );
  -- A client may state any time: an earlier one would take events of the user who has identified since.
  for v_found in
    select message.ordinality
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.type = 'identify'
      and message.identity_kind = 'user'
      and message.ordinality = any (v_proved)
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
        when message.caller is not null and exists (
          select
          from track.identity as browser
          join track.identity as own on own.person_id = browser.person_id
          where browser.identity_id = track._browser_identity(message.external_id, message.occurred_at)
            and own.external_id = message.caller
            and own.kind = 'user'
        ) then 'own'
        when message.ordinality = any (v_claimed) then 'claimed'
        else 'unverified'
      end as verdict
    from unnest(messages) with ordinality as message
    where message.problem is null
      and message.anonymous_id is not null
      and message.ordinality <> all (v_proved)
      and case message.identity_kind
        when 'anonymous' then message.anonymous_id = any (v_linked) or message.ordinality = any (v_claimed)
        else message.type = 'identify'
      end
  loop
    v_message := v_messages[v_found.ordinality];
    case v_found.verdict
      when 'claim' then
        v_message.is_claim := true;
      when 'claimed' then
        v_message.identity_kind := 'user';
        v_message.external_id := v_message.caller;
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
A browser that is new belongs to the cookie of the first request that names it.
It is decided at arrival, because clients choose the times of their messages.
$$;
