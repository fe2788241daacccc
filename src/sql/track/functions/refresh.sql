create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
  v_collected int := 0;
  v_error text;
begin
  if (consumer).collect_function is not null then
    begin
      execute format(
        'select %I.%I($1)',
        split_part((consumer).collect_function, '.', 1), split_part((consumer).collect_function, '.', 2)
      )
      into v_collected
      using most_people;
    exception
      -- The rows stay queued, and what they cannot change is refreshed.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
        raise warning '% failed: %', (consumer).collect_function, common.without_values(v_error);
    end;
  end if;

  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select 1 from track.changed where changed.consumer = v_name) then
    return row(
      v_name, v_collected, num_nonnulls(v_error), common.without_values(v_error)
    )::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, v_collected, num_nonnulls(v_error), common.without_values(v_error))::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], common.without_values(v_outcome.error);
  end if;
  return row(
    v_name,
    greatest(cardinality(v_picked) - cardinality(v_outcome.failed), v_collected),
    cardinality(v_outcome.failed) + num_nonnulls(v_error),
    common.without_values(coalesce(v_outcome.error, v_error))
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer.
Before that, it stores as many rows of the queue of the consumer's room, if there is one. People that fail are queued
again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        common.without_values(v_error);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then common.without_values(v_error) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session', 'track.transition', 'track.property'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select 1 from track.stale) or exists (select 1 from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.transition') = 'track.transition'
    and exists (select from track.stale_transition_month)
  then
    v_changed := track._refresh_transitions();
    if v_changed > 0 then
      return next row('track.transition', v_changed, 0, null)::track.refreshed;
    end if;
  end if;

  if coalesce(refresh.step, 'track.property') = 'track.property'
    and (
      exists (select from track.stale_property)
      or exists (select from track.declared_property as declared where not declared.is_queued)
    )
  then
    v_refreshed := track._refresh_all_properties(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), the transitions of a
month that is queued (`track.transition`: `people` is the number of their rows), the values of new declared properties
(`track.property`), and the consumers of `track.consumer` in their order, each after what its room has queued itself
(`people` is the larger number of the two); `step` restricts it to one of these steps.
Returns one row per step that processed people. Call it until no row has `people` above 0, each call in its own
transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
