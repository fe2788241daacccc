create or replace function track._store_signals(messages track.parsed_message[], received_at timestamptz)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform privacy.record_decisions(
    array_agg(signalled.person_id), array_agg(signalled.identity_id), array_agg(signalled.purpose),
    array_agg(false), array_agg(signalled.decided_at), signalled.source, null, array_agg(signalled.name)
  )
  from (
    select distinct on (person.person_id, purpose.purpose)
      person.person_id, person.identity_id, person.external_id as name, purpose.purpose,
      signal.source, signal.decided_at
    from (
      select
        identity.person_id, identity.identity_id, identity.external_id, named.opted_out_at, named.sends_gpc,
        named.sends_dnt
      from (
        select
          message.external_id, case message.identity_kind when 'user' then 'user' else 'anonymous' end as kind,
          max(message.occurred_at) filter (where message.opts_out) as opted_out_at,
          bool_or(message.sends_gpc) as sends_gpc, bool_or(message.sends_dnt) as sends_dnt
        from unnest(messages) as message
        where message.problem is null
          and message.identity_kind <> 'none'
        group by 1, 2
      ) as named
      join track.identity
        on identity.external_id = named.external_id
        and identity.kind = named.kind
      where named.kind = 'user'
        or identity.identity_id = track._browser_identity(named.external_id, _store_signals.received_at)
    ) as person
    cross join privacy.purpose
    -- A signal of the request is one of now, a signal in a message is as old as the message.
    cross join lateral (
      values
        ('gpc', purpose.opted_out_by_gpc and person.sends_gpc, _store_signals.received_at),
        (
          'gpc', purpose.opted_out_by_gpc and person.opted_out_at is not null,
          least(person.opted_out_at, _store_signals.received_at)
        ),
        ('dnt', purpose.opted_out_by_dnt and person.sends_dnt, _store_signals.received_at)
    ) as signal (source, applies, decided_at)
    where signal.applies
    order by person.person_id, purpose.purpose, signal.decided_at desc, signal.source desc,
      person.identity_id
  ) as signalled
  left join lateral (
    select
      (
        array_agg(
          case when consent.granted and consent.valid_until <= now() then null else consent.granted end
          order by consent.decided_at desc, consent.recorded_at desc
        )
      )[1] as granted,
      bool_or(consent.source in ('gpc', 'dnt')) as is_signalled
    from privacy.consent
    where consent.person_id = signalled.person_id
      and consent.purpose = signalled.purpose
  ) as latest on true
  -- Not again after the person has granted it, because most browsers send the signal with each request.
  where latest.granted is null
    or latest.granted and not latest.is_signalled
  group by signalled.source;
end;
$$;

comment on function track._store_signals(track.parsed_message[], timestamptz) is $$
Records the opt-out signals of requests (`gpc`, `dnt`) as refusals of the people of their messages.
The signal in a message (`context.gpc`) is one of its person.
Once per person and purpose: a later grant of the person applies, although the browser still sends the signal.
$$;
