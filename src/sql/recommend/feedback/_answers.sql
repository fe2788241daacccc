create or replace function recommend._answers(servings recommend.impression[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_clicked constant int[] := recommend._event_types_named('Recommendation Clicked');
  v_named constant record := recommend._event_names();
begin
  return query
  with serving as materialized (
    select given.*, coalesce(item.merged_item_id, given.item_id) as target_id
    from unnest(_answers.servings) as given
    left join track.item on item.item_id = given.item_id
  ),

  span as materialized (
    select
      serving.person_id,
      min(serving.listed_at) - v_tolerance as since,
      max(serving.listed_at) + greatest(v_setting.serving_period, v_setting.attribution_period) as until
    from serving
    group by serving.person_id
  ),

  weighed as materialized (
    select named.event_type_id, event_weight.completes, event_weight.dismisses
    from unnest(v_named.event_type_ids, v_named.events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  said as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      case
        when event.properties ? 'servingId' then recommend._read_serving_id(event.properties ->> 'servingId')
      end as serving,
      weighed.completes, weighed.dismisses
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
  ),

  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (where said.event_type_id = any (v_clicked)) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses) as dismissed_at
    from serving
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    group by serving.person_id, serving.serving_key
  ),

  completion as (
    select said.person_id, said.item_id, said.occurred_at
    from said
    where said.completes

    union all

    select enrolment.person_id, enrolment.item_id, enrolment.ended_at
    from span
    join track.enrolment
      on enrolment.person_id = span.person_id
    where enrolment.status = 'completed'
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(completion.occurred_at) as completed_at
    from serving
    join completion
      on completion.person_id = serving.person_id
      and completion.item_id = serving.target_id
      and completion.occurred_at >= serving.listed_at
      and completion.occurred_at <= serving.listed_at + v_setting.attribution_period
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at, answered.clicked_at, answered.dismissed_at, null::timestamptz, null::real, null::timestamptz,
    completed.completed_at
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join completed
    on completed.person_id = serving.person_id
    and completed.serving_key = serving.serving_key;
end;
$$;

comment on function recommend._answers(recommend.impression[]) is $$
@behavior -*
Computes the answers of people to rows of lists from all of their events, as `recommend.impression` describes them.
The people are those of the rows; the answers in the rows themselves are ignored.
$$;
