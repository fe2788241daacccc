create or replace function recommend._record_list(
  serving_ids text[],
  scores float8[],
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
  -- The identity is that of all rows, and read from the first one: see `recommend._serving_id`.
  v_fields constant text[] := string_to_array(_record_list.serving_ids[1], '.');
  v_identity_id bigint := nullif(v_fields[6], '0');
  v_person_id bigint;
begin
  -- One condition for what is rare, because each list that is served is recorded here.
  if v_identity_id is null or current_setting('transaction_read_only')::boolean then
    perform recommend._check_session('record what is served', '{}');
    -- A list for no person is shown to the learner who is signed in.
    if _record_list.serving_ids is not null and track.current_person_id() is not null
      and not track.reads_all_people()
    then
      v_identity_id := track.find_identity(current_setting('insights.person', true));
    end if;
  end if;
  v_person_id := track.lock_person(v_identity_id, now());

  insert into recommend.serving_call (
    hour_at, function_name, kind, model_id, item_count, seconds, person_id, identity_id, serving_ids, scores
  )
  select
    date_bin('1 hour', now(), 'epoch'),
    _record_list.function_name,
    _record_list.kind,
    -- Rows of one version only; those that need no model may be before them.
    coalesce(
      nullif(v_fields[1], '0')::bigint,
      (
        select max(nullif(split_part(listed.serving_id, '.', 1), '0')::bigint)
        from unnest(_record_list.serving_ids) as listed (serving_id)
      )
    ),
    coalesce(cardinality(_record_list.serving_ids), 0),
    -- The clock may be set back.
    greatest(extract(epoch from clock_timestamp() - _record_list.started_at), 0),
    case when served.is_stored then v_person_id end,
    case when served.is_stored then v_identity_id end,
    case when served.is_stored then _record_list.serving_ids end,
    case when served.is_stored then _record_list.scores end
  from (
    select v_person_id <> 0 and coalesce(
      -- Most people have decided nothing: what `privacy.allowed` returns then takes less time here than in a function.
      (
        select purpose.basis <> 'consent'
        from privacy.purpose
        where purpose.purpose = 'personalization'
          and not exists (select 1 from privacy.consent where consent.person_id = v_person_id)
          and not exists (select 1 from privacy.restriction where restriction.person_id = v_person_id)
          and not exists (select 1 from privacy.person_age where person_age.person_id = v_person_id)
      ),
      recommend._may_record(v_person_id)
    ) as is_stored
    -- Once, and not in each expression.
    offset 0
  ) as served;
end;
$$;

comment on function recommend._record_list(text[], float8[], text, text, timestamptz) is $$
@behavior -*
Records a list as served, in one row, and how long the call of `function_name` took since `started_at`.
The list, by its `serving_ids` (null for an empty one) and `scores`, is one that the caller has just made: nothing is
checked. `recommend.collect_servings` stores its rows. One that is for no person is recorded for the learner who is
signed in, and otherwise only counted, as are those of people who have opted out of `personalization`.
Errors: 25006 in a read-only transaction.
$$;
