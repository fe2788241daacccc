create or replace function track._journey(person_id bigint, since timestamptz, until timestamptz)
returns setof track.action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    session.session_id,
    case when not placed.is_automatic then (row_number() over session_in_order)::int end as action_number,
    event.occurred_at,
    event_type.name as event,
    item.external_id as item,
    item.kind as item_kind,
    item.title as item_title,
    case
      when not placed.is_automatic then event.occurred_at - lag(event.occurred_at) over session_in_order
    end as since_previous,
    event.properties
  from track.event
  join track.event_type using (event_type_id)
  join track.source using (source_id)
  cross join lateral (select event_type.is_automatic or source.is_automatic) as placed (is_automatic)
  left join track.item using (item_id)
  left join track.session
    on session.person_id = event.person_id
    and not placed.is_automatic
    and event.occurred_at between session.started_at and session.ended_at
  where event.person_id = _journey.person_id
    and event.occurred_at >= _journey.since
    and event.occurred_at < _journey.until
  window session_in_order as (
    partition by session.session_id, placed.is_automatic
    order by event.occurred_at, event.event_id
  )
  order by event.occurred_at, event.event_id;
end;
$$;

comment on function track._journey(bigint, timestamptz, timestamptz) is $$
@behavior -queryField
Returns the actions of a person between two times, in order of time, with their sessions.
Events of an automatic type or source have no session.
$$;

grant execute on function track._journey(bigint, timestamptz, timestamptz) to insights_learner;
