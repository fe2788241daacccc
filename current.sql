-- Changes of structure since the last release: see migrations/README.md.

create type analytics.engagement_level as (
  section text,
  title text,
  item_count bigint,
  level text,
  person_count bigint,
  share float8
);

comment on type analytics.engagement_level is $$
A level of engagement with a section of a course, and the learners who are at it.
For analysts, numbers of people are rounded, and too few people are 0.
$$;
comment on column analytics.engagement_level.section is $$External id of the section, or of the course.$$;
comment on column analytics.engagement_level.title is $$Title of the section; null when unknown.$$;
comment on column analytics.engagement_level.item_count is $$Number of items of the section.$$;
comment on column analytics.engagement_level.level is $$Level, in the words of Aspects.$$;
comment on column analytics.engagement_level.person_count is $$Number of learners.$$;
comment on column analytics.engagement_level.share is $$Share of the learners of the course; null without learners.$$;

create type analytics.task_deadline as (
  task text,
  title text,
  due_at timestamptz,
  learner_count bigint,
  started_count bigint,
  on_time_count bigint,
  late_count bigint,
  missing_count bigint,
  floating_count bigint,
  median_lead interval,
  median_work interval
);

comment on type analytics.task_deadline is $$
A task of a course with the submissions of its learners.
For analysts, figures are rounded, and those of too few people are 0 or null.
$$;
comment on column analytics.task_deadline.task is $$External id of the task.$$;
comment on column analytics.task_deadline.title is $$Title of the task; null when unknown.$$;
comment on column analytics.task_deadline.due_at is $$Deadline; null without one.$$;
comment on column analytics.task_deadline.learner_count is $$Number of learners of the course.$$;
comment on column analytics.task_deadline.started_count is $$Number of learners who started the task.$$;
comment on column analytics.task_deadline.on_time_count is $$
Number of learners who submitted it by the deadline, or without one.
$$;
comment on column analytics.task_deadline.late_count is $$Number of learners who submitted it after the deadline.$$;
comment on column analytics.task_deadline.missing_count is $$
Number of learners who have not submitted it, after the deadline.
$$;
comment on column analytics.task_deadline.floating_count is $$
Number of learners who have not submitted it, before the deadline or without one.
$$;
comment on column analytics.task_deadline.median_lead is $$
Median time from the submission to the deadline, negative after it; null without submissions or deadline.
$$;
comment on column analytics.task_deadline.median_work is $$
Median time from the start of the task to its submission; null without such.
$$;
