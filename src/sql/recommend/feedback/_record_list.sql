create or replace function recommend._record_list(
  list recommend.recommendation[],
  function_name text,
  kind text,
  started_at timestamptz
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  -- Person, time and experiment are those of all rows. To read all of the ids would take a third of the time.
  v_serving constant recommend.serving := recommend._serving_content((_record_list.list[1]).serving_id);
  v_identity_id bigint := (v_serving).identity_id;
  v_person_id bigint;
begin
  if current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
  end if;

  -- A list for no person is shown to the learner who is signed in.
  if v_identity_id is null and _record_list.list <> '{}' and track.current_person_id() is not null
    and not track.reads_all_people()
  then
    v_identity_id := track.find_identity(current_setting('insights.person', true));
  end if;
  if v_identity_id is not null then
    v_person_id := track.lock_person(v_identity_id, (v_serving).listed_at);
  end if;

  if recommend._may_record(v_person_id) then
    insert into recommend.impression (
      person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
      experiment_id, variation, score, function_name
    )
    select
      v_person_id, right(listed.serving_id, 32)::uuid, v_identity_id,
      nullif(split_part(listed.serving_id, '.', 1), '0')::bigint,
      listed.item_id, listed.rank, listed.basis, listed.propensity,
      case when listed.propensity is not null then (recommend._serving_content(listed.serving_id)).pool end,
      (v_serving).listed_at, true, (v_serving).experiment_id, (v_serving).variation, listed.score,
      _record_list.function_name
    from unnest(_record_list.list) as listed
    on conflict (person_id, serving_key) do update
    set is_served = true, score = excluded.score, function_name = excluded.function_name
    where not impression.is_served;

    -- The first exposure counts: a person who is known in this variation need not be computed again.
    if (v_serving).experiment_id is not null and not exists (
      select
      from experiment.exposure
      where exposure.person_id = v_person_id
        and exposure.experiment_id = (v_serving).experiment_id
        and exposure.variation = (v_serving).variation
        and exposure.exposed_at <= (v_serving).listed_at
    ) then
      perform experiment.queue_exposures(array[v_person_id]);
    end if;
  end if;

  insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
  values (
    date_trunc('hour', now(), 'UTC'), _record_list.function_name, _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      (v_serving).model_id,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.list) as listed
      )
    ),
    cardinality(_record_list.list),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0)
  );
end;
$$;

comment on function recommend._record_list(recommend.recommendation[], text, text, timestamptz) is $$
@behavior -*
Records the rows of a list as served, each once, and how long the call of `function_name` took since `started_at`.
The list is one that the caller has just made: nothing is checked. One that is for no person is recorded for the learner
who is signed in, and otherwise not. Those of people who have opted out of `personalization` are not recorded.
$$;
