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
  v_event_type_ids constant int[] := v_named.event_type_ids;
  v_events constant text[] := v_named.events;
begin
  return query
  with serving as materialized (
    select given.*
    from unnest(_answers.servings) as given
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
    select named.event_type_id, event_weight.*
    from unnest(v_event_type_ids, v_events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  sent as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.named_item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      event.properties ->> 'servingId' as serving_id,
      weighed.completes, weighed.dismisses,
      -- With a topic, it is the dismissal of the topic that is withdrawn.
      weighed.withdraws and nullif(event.properties ->> 'topic', '') is null as withdraws,
      coalesce(
        weighed.liking,
        case
          when jsonb_typeof(event.properties -> weighed.value_property) = 'number'
            then recommend._rating_to_liking(
              (event.properties ->> weighed.value_property)::float8, weighed.value_from, weighed.value_to
            )
        end
      ) as liking
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
      or weighed.withdraws
  ),

  said as materialized (
    select
      sent.*,
      case when sent.serving_id is not null then recommend._read_serving_id(sent.serving_id) end as serving
    from sent
  ),

  -- An answer acts on the item of its event. It is one to the row when this is the item of the row, under any name.
  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (
        where said.event_type_id = any (v_clicked) and (said.item_id is null or about_row.is_true)
      ) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses and about_row.is_true) as dismissed_at,
      max(said.occurred_at) filter (where said.liking is not null and about_row.is_true) as liked_at,
      (
        array_agg(said.liking order by said.occurred_at desc, said.event_id desc)
        filter (where said.liking is not null and about_row.is_true)
      )[1] as liking
    from serving
    join track.item as recommended on recommended.item_id = serving.item_id
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    cross join lateral (
      select coalesce(
        serving.item_id in (said.item_id, said.named_item_id) or recommended.merged_item_id = said.item_id, false
      ) as is_true
    ) as about_row
    group by serving.person_id, serving.serving_key
  ),

  -- Of an item as it was named, or as it is called since a merge: both change only with the event.
  about as (
    select said.person_id, said.item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.completes
      or said.withdraws

    union all

    select said.person_id, said.named_item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.named_item_id is not null
      and (said.completes or said.withdraws)

    union all

    select enrolment.person_id, enrolled.item_id, enrolment.ended_at, true, false
    from span
    join track.enrolment on enrolment.person_id = span.person_id
    cross join lateral (values (enrolment.item_id), (enrolment.named_item_id)) as enrolled (item_id)
    where enrolment.status = 'completed'
  ),

  withdrawn as (
    select by_row.person_id, by_row.serving_key, max(by_row.occurred_at) as withdrawn_at
    from (
      select serving.person_id, serving.serving_key, serving.listed_at, about.occurred_at
      from serving
      join about
        on about.person_id = serving.person_id
        and about.item_id = serving.item_id
      where about.withdraws

      union all

      -- Of a row under an earlier name of the item.
      select serving.person_id, serving.serving_key, serving.listed_at, said.occurred_at
      from serving
      join track.item as recommended on recommended.item_id = serving.item_id
      join said
        on said.person_id = serving.person_id
        and (said.serving).serving_key = serving.serving_key
        and said.item_id = recommended.merged_item_id
      where said.withdraws
    ) as by_row
    where by_row.occurred_at >= by_row.listed_at
      and by_row.occurred_at <= by_row.listed_at + v_setting.serving_period
    group by by_row.person_id, by_row.serving_key
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(about.occurred_at) as completed_at
    from serving
    join about
      on about.person_id = serving.person_id
      and about.item_id = serving.item_id
      and about.occurred_at >= serving.listed_at
      and about.occurred_at <= serving.listed_at + v_setting.attribution_period
    where about.completes
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at,
    answered.clicked_at,
    case when answered.dismissed_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.dismissed_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liked_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liking end,
    withdrawn.withdrawn_at,
    completed.completed_at,
    serving.experiment_id,
    serving.variation,
    serving.score,
    serving.function_name
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join withdrawn
    on withdrawn.person_id = serving.person_id
    and withdrawn.serving_key = serving.serving_key
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
