create or replace function track._journey(person_id bigint, since timestamptz, until timestamptz)
returns setof track.action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _journey.person_id is null then
    return;
  end if;

  return query
  with happened as (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties, event_type.name,
      event_type.is_automatic or source.is_automatic as is_automatic
    from track.event
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    where event.person_id = _journey.person_id
      and event.occurred_at >= _journey.since
      and event.occurred_at < _journey.until
  )

  select
    session.session_id,
    case when not happened.is_automatic then (row_number() over session_in_order)::int end as action_number,
    happened.occurred_at,
    happened.name as event,
    item.external_id as item,
    item.kind as item_kind,
    item.title as item_title,
    case
      when not happened.is_automatic then happened.occurred_at - lag(happened.occurred_at) over session_in_order
    end as since_previous,
    happened.properties
  from happened
  left join track.item using (item_id)
  left join track.session
    on session.person_id = happened.person_id
    and not happened.is_automatic
    and happened.occurred_at between session.started_at and session.ended_at
  window session_in_order as (
    partition by session.session_id, happened.is_automatic
    order by happened.occurred_at, happened.event_id
  )
  order by happened.occurred_at, happened.event_id;
end;
$$;

comment on function track._journey(bigint, timestamptz, timestamptz) is $$
@behavior -queryField
Returns the actions of a person between two times, in order of time, with their sessions.
Events of an automatic type or source have no session.
$$;

grant execute on function track._journey(bigint, timestamptz, timestamptz) to insights_learner;
