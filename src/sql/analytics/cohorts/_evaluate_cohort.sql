create or replace function analytics._evaluate_cohort(name text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_last bigint := 0;
begin
  -- In parts, so that the memory that is used is bounded. The lock is that of the refresh.
  loop
    v_people := array(
      select person.person_id
      from track.person
      where person.person_id > v_last
      order by person.person_id
      limit 50000
    );
    exit when v_people = '{}';
    perform track.recompute_person_sets('analytics.cohort', v_people, _evaluate_cohort.name);
    v_last := v_people[cardinality(v_people)];
  end loop;
  update analytics.cohort set evaluated_at = clock_timestamp() where cohort.name = _evaluate_cohort.name;
end;
$$;

comment on function analytics._evaluate_cohort(text) is $$
Recomputes for all people whether they belong to a live cohort.
$$;
