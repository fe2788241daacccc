create or replace function recommend._session_context(person_id bigint, identity_id bigint, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most_events constant int := 20;
  v_timeout constant interval := (select session_timeout from track.setting);
  v_context recommend.person_context := recommend._context(
    _session_context.person_id, _session_context.identity_id, _session_context.kind
  );
  v_items bigint[];
begin
  -- Without consent no data is read.
  if _session_context.person_id is null or not privacy.allowed(_session_context.person_id, 'personalization') then
    return v_context;
  end if;

  select array_agg(latest.item_id order by latest.occurred_at, latest.event_id)
  into v_items
  from (
    select
      recent.*,
      -- The number of pauses after the event.
      count(*) filter (where recent.pause > v_timeout) over (
        order by recent.occurred_at desc, recent.event_id desc
      ) as pauses
    from (
      select
        event.item_id, event.occurred_at, event.event_id,
        lag(event.occurred_at) over (order by event.occurred_at desc, event.event_id desc) - event.occurred_at as pause
      from track.event
      where event.person_id = _session_context.person_id
      order by event.occurred_at desc, event.event_id desc
      limit v_most_events
    ) as recent
  ) as latest
  where latest.pauses = 0
    and latest.item_id is not null;

  -- Without what she rejected, taught or wrote.
  v_items := recommend._items_of_kind(v_items, _session_context.kind, v_most_events);
  select
    coalesce(array_agg(used.item_id order by used.place), '{}'),
    coalesce(
      array_agg(
        case
          when stated.strength < 0 then stated.strength
          when stated.strength >= 1 then 1
          -- Below 1: what was only viewed is not liked (`recommend._raised`).
          else 0.9999999
        end
        order by used.place
      ),
      '{}'
    )
  into v_context.items, v_context.strengths
  from unnest(v_items) with ordinality as used (item_id, place)
  left join unnest(v_context.items, v_context.strengths) as stated (item_id, strength)
    on stated.item_id = used.item_id
  where not exists (
    select
    from unnest(v_context.left_out, v_context.left_out_reasons) as rejected (item_id, reason)
    where rejected.item_id = used.item_id
      and rejected.reason in ('own', 'dropped', 'dismissed')
  );
  return v_context;
end;
$$;

comment on function recommend._session_context(bigint, bigint, text) is $$
@behavior -*
Returns the context of a person (`recommend._context`) with the items of her last session alone.
These are the items of the kind that contain those of the last 20 events, up to a pause that ends a session. Items that
she does not like keep their strength.
$$;

grant execute on function recommend._session_context(bigint, bigint, text) to insights_reader, insights_learner;
