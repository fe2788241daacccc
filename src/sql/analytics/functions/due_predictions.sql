/* A definer of insights_reader: it looks at what days are on record, and tells of questions only. */
create or replace function analytics.due_predictions()
returns setof text
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
as $$
  with recorded as (
    select
      min(activity.day)::timestamp at time zone 'UTC' as begun_at,
      least((max(activity.day) + 1)::timestamp at time zone 'UTC', date_trunc('day', now() at time zone 'UTC') at time zone 'UTC') as complete_at
    from analytics.activity
  )

  select entry.question
  from analytics.question as entry
  cross join recorded
  cross join (select count(*) as enrolments from track.enrolment) as counted
  where recorded.complete_at >= recorded.begun_at + interval '7 days' + entry.horizon
    and counted.enrolments * entry.weeks >= entry.fewest_rows
    and not exists (
      select
      from ml.project
      join ml.model using (project_id)
      where project.name = entry.project
        and model.trained_at >= recorded.complete_at
    )
  order by entry.question;
$$;

alter function analytics.due_predictions() owner to insights_reader;

comment on function analytics.due_predictions() is $$
@behavior -*
The questions about learners whose newest version does not know the last complete day, where there may be enough to learn from. For the worker.
$$;

grant execute on function analytics.due_predictions() to insights_admin, insights_worker;
