create or replace function recommend._move_impressions(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The lists of the people: identities and times, with the person to whom each belongs now.
  v_identity_ids bigint[];
  v_times timestamptz[];
  v_owners bigint[];
  v_moved recommend.impression[];
begin
  select array_agg(list.identity_id), array_agg(list.listed_at)
  into v_identity_ids, v_times
  from (
    select distinct impression.identity_id, impression.listed_at
    from recommend.impression
    where impression.person_id = any (_move_impressions.people)
      and impression.identity_id is not null
  ) as list;
  v_owners := track.people_of_identities(v_identity_ids, v_times);

  select array_agg(impression) into v_moved
  from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
  join recommend.impression
    on impression.person_id = any (_move_impressions.people)
    and impression.identity_id = list.identity_id
    and impression.listed_at = list.listed_at
  where list.person_id is distinct from impression.person_id;
  if v_moved is null then
    return;
  end if;

  delete from recommend.impression
  using unnest(v_moved) as moved
  where impression.person_id = moved.person_id
    and impression.serving_key = moved.serving_key;

  -- An identity that is gone leaves no person to whom the row was served.
  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation, score, function_name
  )
  select
    list.person_id, moved.serving_key, moved.identity_id, moved.model_id, moved.item_id, moved.rank, moved.basis,
    moved.propensity, moved.pool, moved.listed_at, true, moved.experiment_id, moved.variation, moved.score,
    moved.function_name
  from unnest(v_moved) as moved
  join unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
    on list.identity_id = moved.identity_id
    and list.listed_at = moved.listed_at
  where list.person_id is not null
    and moved.is_served
  on conflict (person_id, serving_key) do update
  set is_served = true, score = excluded.score, function_name = excluded.function_name;

  -- The other person may have been refreshed before.
  perform track.queue_people(
    'recommend.impression',
    array(
      select distinct list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where list.person_id is not null
    )
  );
  perform experiment.queue_exposures(
    array(
      select moved.person_id
      from unnest(v_moved) as moved
      where moved.experiment_id is not null

      union

      select list.person_id
      from unnest(v_identity_ids, v_times, v_owners) as list (identity_id, listed_at, person_id)
      join unnest(v_moved) as moved on moved.identity_id = list.identity_id and moved.listed_at = list.listed_at
      where moved.experiment_id is not null
        and list.person_id is not null
    )
  );
end;
$$;

comment on function recommend._move_impressions(bigint[]) is $$
Moves the impressions of the given people whose identity belongs to another person now, and queues these people.
$$;

create or replace function recommend._touched_impressions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  named recommend.impression[]
)
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_horizon constant interval := greatest(v_setting.serving_period, v_setting.attribution_period);
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  -- For all other people, only events that name a list matter.
  v_known constant bigint[] := array(
    select distinct impression.person_id
    from recommend.impression
    where impression.person_id = any (_touched_impressions.people)
  );
  v_weights constant record := recommend._event_names();
  v_event_type_ids constant int[] := array(
    select weighed.event_type_id
    from unnest(v_weights.event_type_ids, v_weights.events) as weighed (event_type_id, event)
    join recommend.event_weight on event_weight.event = weighed.event
    where event_weight.completes
      or event_weight.withdraws
  );
  -- In lists of their own: Citus passes no rows of a table to its workers.
  v_named_people constant bigint[] := array(
    select entry.person_id
    from unnest(_touched_impressions.named) with ordinality as entry
    order by entry.ordinality
  );
  v_named_keys constant uuid[] := array(
    select entry.serving_key
    from unnest(_touched_impressions.named) with ordinality as entry
    order by entry.ordinality
  );
  v_stored_people bigint[];
  v_stored_keys uuid[];
begin
  select array_agg(impression.person_id), array_agg(impression.serving_key)
  into v_stored_people, v_stored_keys
  from unnest(v_named_people, v_named_keys) as entry (person_id, serving_key)
  join recommend.impression
    on impression.person_id = entry.person_id
    and impression.serving_key = entry.serving_key;
  return query
  select entry.*
  from unnest(_touched_impressions.named) as entry
  where (entry.person_id, entry.serving_key) not in (
    select known.person_id, known.serving_key
    from unnest(v_stored_people, v_stored_keys) as known (person_id, serving_key)
  );
  if v_known = '{}' then
    return;
  end if;

  return query
  with period as materialized (
    select changed.person_id, changed.since, changed.until
    from unnest(_touched_impressions.people, _touched_impressions.since, _touched_impressions.until)
      as changed (person_id, since, until)
    where changed.person_id = any (v_known)
  ),

  -- Events that matter for the rows of their item, whether they name a list or not.
  about as materialized (
    select event.person_id, event.item_id, event.named_item_id, event.occurred_at
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.item_id is not null
      and coalesce(event.named_event_type_id, event.event_type_id) = any (v_event_type_ids)
  )

  select distinct on (touched.person_id, touched.serving_key) touched.*
  from (
    select impression.*
    from unnest(v_named_people, v_named_keys) as entry (person_id, serving_key)
    join recommend.impression
      on impression.person_id = entry.person_id
      and impression.serving_key = entry.serving_key

    union all

    select impression.*
    from period
    join recommend.impression
      on impression.person_id = period.person_id
      and impression.listed_at >= period.since - v_horizon
      and impression.listed_at <= period.until + v_tolerance
    where period.since = '-infinity'
      or impression.seen_at between period.since and period.until
      or impression.clicked_at between period.since and period.until
      or impression.dismissed_at between period.since and period.until
      or impression.liked_at between period.since and period.until
      or impression.withdrawn_at between period.since and period.until
      or impression.completed_at between period.since and period.until

    union all

    select impression.*
    from about
    join recommend.impression
      on impression.person_id = about.person_id
      and impression.item_id in (about.item_id, about.named_item_id)
      and impression.listed_at >= about.occurred_at - v_horizon
      and impression.listed_at <= about.occurred_at
  ) as touched;
end;
$$;

comment on function recommend._touched_impressions(bigint[], timestamptz[], timestamptz[], recommend.impression[]) is $$
@behavior -*
Returns the rows whose answers may differ after a change of events in the given periods of people.
Those that events of the periods name (`named`), those with an answer in a period, and those whose item was finished or
withdrawn in one.
$$;

/*
 * An event can be added, deleted, moved by a merge of people or withdrawn by a later one. Therefore the answers to a
 * row are computed from all events of the person since the list was made, whenever one of them may have changed.
 */
create or replace function recommend.refresh_impressions(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_refused constant bigint[] := recommend._people_who_refuse(refresh_impressions.people);
  v_exposed bigint[];
  v_named recommend.impression[];
  v_touched recommend.impression[];
begin
  if v_refused <> '{}' then
    with deleted as (
      delete from recommend.impression
      where impression.person_id = any (v_refused)
      returning impression.person_id, impression.experiment_id
    )

    select array_agg(distinct deleted.person_id) into v_exposed
    from deleted
    where deleted.experiment_id is not null;
    perform experiment.queue_exposures(v_exposed);
  end if;
  perform recommend._move_impressions(array(
    select distinct changed.person_id
    from unnest(refresh_impressions.people, refresh_impressions.since) as changed (person_id, since)
    where changed.since = '-infinity'
  ));

  v_named := array(
    select named
    from recommend._named_servings(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until
    ) as named
    where named.person_id <> all (v_refused)
  );
  v_touched := array(
    select touched
    from recommend._touched_impressions(
      refresh_impressions.people, refresh_impressions.since, refresh_impressions.until, v_named
    ) as touched
  );
  if v_touched = '{}' then
    return;
  end if;

  with fresh as materialized (
    select answered.*
    from recommend._answers(v_touched) as answered
  ),

  -- A row that was not served is there only because of an event.
  deleted as (
    delete from recommend.impression
    using fresh
    where impression.person_id = fresh.person_id
      and impression.serving_key = fresh.serving_key
      and fresh.seen_at is null
      and not impression.is_served
  )

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    seen_at, clicked_at, dismissed_at, liked_at, liking, withdrawn_at, completed_at, experiment_id, variation,
    score, function_name
  )
  select
    fresh.person_id, fresh.serving_key, fresh.identity_id, fresh.model_id, fresh.item_id, fresh.rank, fresh.basis,
    fresh.propensity, fresh.pool, fresh.listed_at, fresh.is_served,
    fresh.seen_at, fresh.clicked_at, fresh.dismissed_at, fresh.liked_at, fresh.liking, fresh.withdrawn_at,
    fresh.completed_at, fresh.experiment_id, fresh.variation, fresh.score, fresh.function_name
  from fresh
  where fresh.seen_at is not null
    or fresh.is_served
  on conflict (person_id, serving_key) do update
  set
    seen_at = excluded.seen_at,
    clicked_at = excluded.clicked_at,
    dismissed_at = excluded.dismissed_at,
    liked_at = excluded.liked_at,
    liking = excluded.liking,
    withdrawn_at = excluded.withdrawn_at,
    completed_at = excluded.completed_at
  where (
    impression.seen_at, impression.clicked_at, impression.dismissed_at, impression.liked_at, impression.liking,
    impression.withdrawn_at, impression.completed_at
  ) is distinct from (
    excluded.seen_at, excluded.clicked_at, excluded.dismissed_at, excluded.liked_at, excluded.liking,
    excluded.withdrawn_at, excluded.completed_at
  );
end;
$$;

comment on function recommend.refresh_impressions(bigint[], timestamptz[], timestamptz[]) is $$
Recomputes `recommend.impression` for the given people and periods. Called by `track.refresh`.
Their events, enrolments, identities or decisions have changed.
The answers are the same in any order of arrival, also after late events, merges of people and deletions. People who
have opted out of `personalization` have no rows.
$$;
