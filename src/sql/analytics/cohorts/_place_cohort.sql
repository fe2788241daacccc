create or replace function analytics._place_cohort(
  name text, rule jsonb, description text, is_live boolean, defined_by text
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_today constant date := (now() at time zone 'UTC')::date;
  v_description constant text := coalesce(
    _place_cohort.description,
    (select person_set.description from track.person_set where person_set.name = _place_cohort.name),
    'A cohort.'
  );
  v_is_named constant boolean := exists (
    select from analytics.cohort where _place_cohort.name in (select analytics._rule_sets(cohort.rule))
  );
begin
  perform analytics._list_predicted(_place_cohort.rule, v_today);
  perform track.define_person_set(
    _place_cohort.name, v_description, 'analytics.cohort_members', 'analytics.cohort', queue_people => false
  );
  insert into analytics.cohort (name, rule, is_live, as_of, names, defined_by)
  values (
    _place_cohort.name, _place_cohort.rule, _place_cohort.is_live, v_today,
    analytics._rule_names(_place_cohort.rule), _place_cohort.defined_by
  )
  on conflict on constraint cohort_pkey do update
  set
    rule = excluded.rule, is_live = excluded.is_live, as_of = excluded.as_of, names = excluded.names,
    defined_by = excluded.defined_by, defined_at = clock_timestamp();
  perform analytics._evaluate_cohort(_place_cohort.name);

  if not _place_cohort.is_live then
    perform track.list_person_set(_place_cohort.name);
  end if;
  perform analytics._drop_unused_predictions();
  -- The refresh recomputes the cohorts that name this one. Until then, they are computed at each reading.
  if v_is_named then
    perform track.rebuild('analytics.cohort');
  end if;
  return track.person_set_size(_place_cohort.name);
end;
$$;

comment on function analytics._place_cohort(text, jsonb, text, boolean, text) is $$
Stores a cohort whose rule was checked, and computes its people. Returns their number.
$$;
