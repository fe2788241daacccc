create or replace function analytics.drop_cohort(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the tables of cohorts and sets, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := analytics._cohort_set(drop_cohort.name);
  v_user text;
begin
  perform pg_advisory_xact_lock(hashtext('analytics.cohort'));
  perform track.person_set_size(v_name);
  if starts_with(v_name, 'segment.') then
    perform common.refuse(
      'CF001', format('"%s" is a segment', left(v_name, 100)), 'Segments are defined by analytics.define_segments.'
    );
  end if;
  select cohort.name into v_user
  from analytics.cohort
  where cohort.is_live
    and cohort.name <> v_name
    and v_name in (select analytics._rule_sets(cohort.rule))
  order by cohort.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('"%s" is named by the rule of "%s"', v_name, v_user), 'Drop or replace that cohort first.'
    );
  end if;
  perform track.undefine_person_set(v_name);
  perform analytics._drop_unused_predictions();
end;
$$;

comment on function analytics.drop_cohort(text) is $$
Drops a cohort with its set of people.
Errors: CF002 for an unknown cohort (names the nearest), CF001 for a segment and for a cohort that another one names.
$$;

grant execute on function analytics.drop_cohort(text) to insights_admin;
