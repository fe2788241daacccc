create or replace function analytics._incomplete_sets()
returns table (name text, reason text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Usually there is none, and the recursion, for which the planner expects millions of rows, would allocate its memory.
  if not exists (select from experiment.incomplete_sets()) then
    return;
  end if;
  return query
  with recursive incomplete as (
    select arm.name, format('the set "%s"', arm.name) as reason
    from experiment.incomplete_sets() as arm (name)

    union

    -- A cohort that is not live is a list: its people stay.
    select cohort.name, incomplete.reason
    from incomplete
    join analytics.cohort
      on cohort.is_live
      and incomplete.name in (select analytics._rule_sets(cohort.rule))
  )

  select incomplete.name, min(incomplete.reason)
  from incomplete
  group by incomplete.name;
end;
$$;

comment on function analytics._incomplete_sets() is $$
Returns the sets of people whose members a rule of retention has deleted, with what they read.
These are the variations of `experiment.incomplete_sets`, and the live cohorts and segments whose rules name one, or
another such cohort.
$$;

grant execute on function analytics._incomplete_sets() to insights_reader;
