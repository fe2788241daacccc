create or replace function track._may_withhold(messages track.parsed_message[])
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if exists (
    select
    from unnest(messages) as message
    where message.problem is null
      and (
        message.preferences is not null
        or message.opts_out
        or message.sends_gpc
        or message.sends_dnt
        or message.birth_date is not null
        or message.type in ('identify', 'alias')
        or message.event_name = 'Segment Consent Preference Updated'
      )
  ) then
    return true;
  end if;

  -- Of all event types and not of those of the batch: without an argument, the statement is planned once.
  if exists (
    select
    from privacy.purpose
    where purpose.basis = 'consent'
      and (
        purpose.purpose = 'analytics'
        or purpose.purpose in (select event_type.purpose from track.event_type)
      )
  ) then
    return true;
  end if;

  return exists (
    select
    from privacy.effective_decisions(
      array(select purpose.purpose from privacy.purpose),
      array(
        select identity.person_id
        from unnest(messages) as message
        join track.identity
          on identity.external_id = message.external_id
          and (
            identity.kind = message.identity_kind
            or identity.kind = 'anonymous' and message.identity_kind = 'unverified'
          )
        where message.problem is null
      )
    )
  );
end;
$$;

comment on function track._may_withhold(track.parsed_message[]) is $$
Returns false when no message can be withheld.
That is so when none decides, links or has a signal, no purpose in use needs consent, and none of the people has
decided. For a small batch, the check costs a fraction of the query of `track._withheld_messages`.
$$;

create or replace function track._withheld_messages(messages track.parsed_message[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not track._may_withhold(messages) then
    return;
  end if;

  return query
  with valid as materialized (
    select
      message.position, message.type, message.identity_kind, message.external_id, message.anonymous_id,
      message.previous_id, message.event_name, message.occurred_at, message.preferences,
      message.opts_out or message.sends_gpc as has_gpc, message.sends_dnt as has_dnt,
      message.is_claim, message.birth_date,
      message.event_name is not distinct from 'Segment Consent Preference Updated' as is_decision
    from unnest(messages) as message
    where message.problem is null
  ),

  -- Names that the batch links to a user, each from the first message that does it. The past of a browser that belongs
  -- to a user stays with that user.
  tied as materialized (
    select distinct on (valid.external_id, tie.external_id, tie.identity_kind)
      valid.external_id as user_name, tie.external_id, tie.identity_kind,
      case when tie.external_id = valid.external_id and tie.identity_kind = 'user' then '-infinity'
        else valid.occurred_at
      end as since,
      valid.position + 1 as position,
      tie.identity_kind = 'user' or not exists (
        select
        from track.identity as browser
        where browser.external_id = tie.external_id
          and browser.kind = 'anonymous'
          and browser.user_identity_id is not null
      ) as has_past
    from valid
    cross join lateral (
      values
        (valid.external_id, 'user'),
        (case valid.type when 'identify' then valid.anonymous_id else valid.previous_id end, 'anonymous'),
        (case valid.type when 'alias' then valid.previous_id end, 'user')
    ) as tie (external_id, identity_kind)
    where valid.type in ('identify', 'alias')
      and valid.identity_kind = 'user'
      and valid.is_claim is not true
      and tie.external_id is not null
    order by valid.external_id, tie.external_id, tie.identity_kind, valid.occurred_at, valid.position
  ),

  -- People by name: `is_own` is false for the people of a browser whose id was sent without proof. Their refusals
  -- count, and a refusal in such a message counts for them; a grant does not. `browser_id` is set where the person
  -- depends on the time of the message.
  named as materialized (
    select
      name.external_id, name.identity_kind, identity.person_id, identity.kind = name.identity_kind as is_own,
      case
        when name.identity_kind = 'anonymous'
          and count(*) over (partition by name.external_id, name.identity_kind) > 1
          then identity.identity_id
      end as browser_id
    from (
      select valid.external_id, valid.identity_kind from valid
      union
      select tied.external_id, tied.identity_kind from tied
    ) as name
    join track.identity
      on identity.external_id = name.external_id
      and (
        identity.kind = name.identity_kind
        or identity.kind = 'anonymous' and name.identity_kind = 'unverified'
      )
  ),

  -- With the other names of their people.
  tied_name as materialized (
    select distinct on (known.user_name, known.external_id, known.identity_kind) known.*
    from (
      select tied.* from tied

      union all

      select tied.user_name, other.external_id, other.identity_kind, tied.since, tied.position, true
      from tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.browser_id is null
      join named as other
        on other.person_id = named.person_id
        and other.is_own
        and other.browser_id is null
      where tied.has_past
        and named.is_own
    ) as known (user_name, external_id, identity_kind, since, position, has_past)
    order by known.user_name, known.external_id, known.identity_kind, known.since, known.position
  ),

  -- Decisions of the batch, which apply from their time on, and the latest earlier one of each person.
  said as materialized (
    select
      valid.external_id, valid.identity_kind, preference.key as purpose, preference.value::boolean as granted,
      valid.occurred_at as decided_at, valid.position,
      case
        when valid.identity_kind = 'anonymous' then track._browser_identity(valid.external_id, valid.occurred_at)
      end as browser_id
    from valid
    cross join lateral jsonb_each(
      case jsonb_typeof(valid.preferences) when 'object' then valid.preferences end
    ) as preference
    where valid.is_decision
      and jsonb_typeof(preference.value) = 'boolean'
  ),

  recorded as materialized (
    select decision.*
    from (
      select
        array(select purpose.purpose from privacy.purpose) as purposes,
        array(select distinct named.person_id from named) as people
    ) as given
    left join (
      select array_agg(named.person_id) as people, array_agg(valid.birth_date) as birth_dates
      from valid
      join named
        on named.external_id = valid.external_id
        and named.identity_kind = valid.identity_kind
      where valid.birth_date is not null
    ) as born on true
    cross join lateral privacy.effective_decisions(given.purposes, given.people, born.people, born.birth_dates)
      as decision
  ),

  -- Names that are new, of a person who is not of age.
  minor as materialized (
    select valid.external_id, valid.identity_kind, limited.purpose, limited.decided_at
    from valid
    cross join lateral (
      select minor.purpose, 'infinity'::timestamptz as decided_at
      from privacy.minor_purposes(valid.birth_date) as minor (purpose)

      union all

      select opt_in.purpose, '-infinity'
      from privacy.opt_in_purposes(valid.birth_date) as opt_in (purpose)
    ) as limited
    where valid.birth_date is not null
      and not exists (
        select
        from named
        where named.external_id = valid.external_id
          and named.identity_kind = valid.identity_kind
      )
  ),

  decision as materialized (
    select
      named.external_id, named.identity_kind, named.browser_id, recorded.purpose, recorded.granted,
      recorded.decided_at, recorded.signalled_at, null::timestamptz as since, -1 as position
    from named
    join recorded using (person_id)
    where named.is_own or not recorded.granted

    union all

    -- No other decision of a minor is later: see privacy.effective_decisions. The message that states the date of birth
    -- ties the name to itself.
    select
      tied.user_name, 'tied', null, minor.purpose, false, minor.decided_at, null, tied.since, tied.position
    from minor
    join tied_name as tied
      on tied.external_id = minor.external_id
      and tied.identity_kind = minor.identity_kind

    union all

    -- Of a name that is new.
    select
      said.external_id, said.identity_kind, null, said.purpose, said.granted, said.decided_at, null, said.decided_at,
      said.position
    from said
    where not exists (
      select
      from named
      where named.external_id = said.external_id
        and named.identity_kind = said.identity_kind
        and named.is_own
    )

    union all

    -- Of a person, for all of her names.
    select
      other.external_id, other.identity_kind, other.browser_id, said.purpose, said.granted, said.decided_at, null,
      said.decided_at, said.position
    from said
    join named
      on named.external_id = said.external_id
      and named.identity_kind = said.identity_kind
      and (named.browser_id is null or named.browser_id = said.browser_id)
    join named as other on other.person_id = named.person_id
    where not said.granted
      or named.is_own and other.is_own and not (
        said.identity_kind = 'anonymous'
        and (select key.kind from track.identity as key where key.identity_id = named.person_id) = 'user'
      )

    union all

    -- Refusals of names that the batch links, under the name of the user: see `tied_to`.
    select
      tied.user_name, 'tied', null, said.purpose, false, said.decided_at, null,
      greatest(said.decided_at, tied.since),
      case
        when tied.since < said.decided_at then said.position
        when tied.since = said.decided_at then greatest(said.position, tied.position)
        else tied.position
      end
    from said
    join tied_name as tied
      on tied.external_id = said.external_id
      and tied.identity_kind = said.identity_kind
      and (tied.has_past or tied.since <= said.decided_at)
    where not said.granted

    union all

    (
      select distinct on (tied.user_name, recorded.purpose)
        tied.user_name, 'tied', null::bigint, recorded.purpose, false, recorded.decided_at, recorded.signalled_at,
        tied.since, tied.position
      from tied_name as tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.is_own
      join recorded using (person_id)
      where not recorded.granted
        and tied.has_past
      order by tied.user_name, recorded.purpose, recorded.decided_at desc
    )
  ),

  asked as materialized (
    select
      valid.position, valid.external_id, valid.identity_kind, valid.occurred_at, purpose.purpose, purpose.basis,
      purpose.without_basis,
      case jsonb_typeof(valid.preferences -> purpose.purpose)
        when 'boolean' then (valid.preferences ->> purpose.purpose)::boolean
      end as preference,
      purpose.opted_out_by_gpc and valid.has_gpc or purpose.opted_out_by_dnt and valid.has_dnt as is_signalled,
      -- A sub-query that is hashed: a join would be a nested loop, since the planner cannot estimate the rows of an
      -- array.
      (valid.external_id, valid.identity_kind, purpose.purpose) in (
        select decision.external_id, decision.identity_kind, decision.purpose
        from decision
      ) as is_decided,
      -- Users to whom the batch has linked the name by then: as if each message had come alone.
      case
        when (valid.external_id, valid.identity_kind) in (
          select tied_name.external_id, tied_name.identity_kind from tied_name
        ) then (
          select array_agg(tied.user_name)
          from tied_name as tied
          where tied.external_id = valid.external_id
            and tied.identity_kind = valid.identity_kind
            and (tied.since, tied.position) <= (valid.occurred_at, valid.position)
        )
      end as tied_to
    from valid
    left join track.event_type as named on named.name = valid.event_name
    left join track.event_type
      on event_type.event_type_id = coalesce(named.merged_event_type_id, named.event_type_id)
    join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
    -- A decision itself needs no consent.
    where not valid.is_decision
  )

  -- In this order: a refusal of the person, a signal of the browser, the preference in the message, a grant of the
  -- person, the lawful basis.
  select asked.position, asked.purpose, asked.without_basis = 'refuse'
  from asked
  where case
    when asked.is_decided or asked.tied_to is not null then (
      select case
        when not latest.granted then true
        when asked.is_signalled then not coalesce(latest.granted and latest.is_after_signal, false)
        else not coalesce(asked.preference, latest.granted, asked.basis <> 'consent')
      end
      from (
        select
          (array_agg(decision.granted order by decision.decided_at desc, decision.position desc))[1] as granted,
          max(decision.decided_at) > max(decision.signalled_at) as is_after_signal
        from decision
        where (
            decision.external_id = asked.external_id and decision.identity_kind = asked.identity_kind
            or decision.external_id = any (asked.tied_to) and decision.identity_kind = 'tied'
          )
          and decision.purpose = asked.purpose
          and (decision.since is null or (decision.since, decision.position) <= (asked.occurred_at, asked.position))
          and (
            decision.browser_id is null
            or decision.browser_id = (select track._browser_identity(asked.external_id, asked.occurred_at))
          )
      ) as latest
    )
    else asked.is_signalled or not coalesce(asked.preference, asked.basis <> 'consent')
  end;
end;
$$;

comment on function track._withheld_messages(track.parsed_message[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
A refusal that was recorded before the batch applies to all of its messages, whatever time they give; a decision of
the batch applies to the messages from its time on. A date of birth in the batch applies to all of its messages. A
refusal also applies to names that the batch links to the person.
$$;
