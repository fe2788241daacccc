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
set plan_cache_mode to force_generic_plan
as $$
declare
  -- Identity and experiment are those of all rows, and read from the first one: see `recommend._serving_id`.
  v_fields constant text[] := string_to_array((_record_list.list[1]).serving_id, '.');
  v_identity_id bigint := nullif(v_fields[6], '0');
  v_serving recommend.serving;
  v_person_id bigint;
begin
  -- One condition for what is rare, because each list that is served is recorded here.
  if v_identity_id is null or cardinality(v_fields) > 8 or current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
    -- A list for no person is shown to the learner who is signed in.
    if v_identity_id is null and _record_list.list <> '{}' and track.current_person_id() is not null
      and not track.reads_all_people()
    then
      v_identity_id := track.find_identity(current_setting('insights.person', true));
    end if;
    -- The ninth field is that of a pool or of an experiment.
    v_serving := recommend._serving_content((_record_list.list[1]).serving_id);
  end if;
  v_person_id := track.lock_person(v_identity_id, now());

  begin
    insert into recommend.impression
    select served.*
    from recommend._served_rows(
      _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
      _record_list.function_name
    ) as served
    where v_person_id <> 0
      -- Most people have decided nothing: what `privacy.allowed` returns then takes less time here than in a function.
      and coalesce(
        (
          select purpose.basis <> 'consent'
          from privacy.purpose
          where purpose.purpose = 'personalization'
            and not exists (select 1 from privacy.consent where consent.person_id = v_person_id)
            and not exists (select 1 from privacy.restriction where restriction.person_id = v_person_id)
            and not exists (select 1 from privacy.person_age where person_age.person_id = v_person_id)
        ),
        (select recommend._may_record(v_person_id))
      );
  exception
    when unique_violation then
      -- Rows that are recorded already: the same list in one transaction, or a row of `for_me` that an event named.
      -- They are rare, and to look for each of them first would take a quarter of the time of the record.
      insert into recommend.impression
      select served.*
      from recommend._served_rows(
        _record_list.list, v_person_id, v_identity_id, (v_serving).experiment_id, (v_serving).variation,
        _record_list.function_name
      ) as served
      where recommend._may_record(v_person_id)
      on conflict (person_id, serving_key) do update
      set is_served = true, score = excluded.score, function_name = excluded.function_name
      where not impression.is_served;
  end;

  -- The first exposure counts: a person who is known in this variation need not be computed again.
  if (v_serving).experiment_id is not null and recommend._may_record(v_person_id) and not exists (
    select 1
    from experiment.exposure
    where exposure.person_id = v_person_id
      and exposure.experiment_id = (v_serving).experiment_id
      and exposure.variation = (v_serving).variation
      and exposure.exposed_at <= (v_serving).listed_at
  ) then
    perform experiment.queue_exposures(array[v_person_id]);
  end if;

  insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
  values (
    date_bin('1 hour', now(), 'epoch'), _record_list.function_name, _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      nullif(v_fields[1], '0')::bigint,
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
Errors: 25006 in a read-only transaction.
$$;
