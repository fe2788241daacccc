create or replace function track._withheld_messages(messages track.parsed_message[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with valid as materialized (
    select
      message.position, message.identity_kind, message.external_id, message.event_name, message.occurred_at,
      message.preferences, message.opts_out,
      message.event_name is not distinct from 'Segment Consent Preference Updated' as is_decision
    from unnest(messages) as message
    where message.problem is null
  ),

  -- The latest decision of each person of the batch about each purpose, in this batch or earlier.
  decision as materialized (
    select distinct on (said.external_id, said.identity_kind, said.purpose)
      said.external_id, said.identity_kind, said.purpose, said.granted
    from (
      select
        identity.external_id, identity.kind as identity_kind, consent.purpose, consent.granted,
        consent.decided_at, consent.recorded_at
      from (select distinct valid.external_id, valid.identity_kind from valid) as person
      join track.identity
        on identity.external_id = person.external_id
        and identity.kind = person.identity_kind
      join privacy.consent on consent.person_id = identity.person_id

      union all

      select
        valid.external_id, valid.identity_kind, preference.key, preference.value::boolean,
        valid.occurred_at, 'infinity'
      from valid
      cross join lateral jsonb_each(
        case jsonb_typeof(valid.preferences) when 'object' then valid.preferences end
      ) as preference
      where valid.is_decision
        and jsonb_typeof(preference.value) = 'boolean'
    ) as said
    order by said.external_id, said.identity_kind, said.purpose, said.decided_at desc, said.recorded_at desc
  )

  -- Consent to the purpose of the event type, in this order: the preference in the message, Global Privacy Control, the
  -- latest decision of the person, the lawful basis. A decision itself needs no consent.
  select valid.position, purpose.purpose, purpose.without_basis = 'refuse'
  from valid
  left join track.event_type on event_type.name = valid.event_name
  join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
  where not valid.is_decision
    and not coalesce(
      case jsonb_typeof(valid.preferences -> purpose.purpose)
        when 'boolean' then (valid.preferences ->> purpose.purpose)::boolean
      end,
      case when purpose.opted_out_by_gpc and valid.opts_out then false end,
      -- Sub-queries that are hashed: a join would be a nested loop, since the planner cannot estimate the rows of an
      -- array.
      case
        when (valid.external_id, valid.identity_kind, purpose.purpose) in (
          select decision.external_id, decision.identity_kind, decision.purpose
          from decision
          where not decision.granted
        ) then false
        when (valid.external_id, valid.identity_kind, purpose.purpose) in (
          select decision.external_id, decision.identity_kind, decision.purpose
          from decision
          where decision.granted
        ) then true
      end,
      purpose.basis <> 'consent'
    );
end;
$$;

comment on function track._withheld_messages(track.parsed_message[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
$$;
