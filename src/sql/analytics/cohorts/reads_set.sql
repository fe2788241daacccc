create or replace function analytics.reads_set(set_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return exists (
    select
    from analytics.cohort
    where cohort.is_live
      and (
        reads_set.set_name in (select analytics._rule_sets(cohort.rule))
        or reads_set.set_name in (
          select analytics._prediction_set(found.value)
          from jsonb_path_query(cohort.rule, 'strict $.** ? (exists (@.prediction))') as found (value)
        )
      )
  );
end;
$$;

comment on function analytics.reads_set(text) is $$
@behavior -*
Returns whether the rule of a live cohort names a set of people, or has its members by a prediction.
See `track.consumer.reads_set`.
$$;
