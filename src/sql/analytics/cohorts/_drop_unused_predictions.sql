create or replace function analytics._drop_unused_predictions()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  perform track.undefine_person_set(person_set.name)
  from track.person_set
  where starts_with(person_set.name, 'prediction.')
    and not exists (
      select
      from analytics.cohort
      cross join lateral jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
      where cohort.is_live
        and person_set.name = analytics._prediction_set(found.value)
    );
end;
$$;

comment on function analytics._drop_unused_predictions() is $$
Removes the sets of people of predictions that no live cohort names.
$$;
