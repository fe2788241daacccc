-- Changes of structure since the last release: see migrations/README.md.

-- Instructors: roles of people in items, and the learners of their courses.
create table if not exists track.item_role (
  person_id bigint not null,
  item_id bigint not null references track.item,
  role text not null check (role in ('instructor', 'assistant', 'author')),
  started_at timestamptz not null default '-infinity',
  ended_at timestamptz not null default 'infinity',
  identity_id bigint not null references track.identity,
  primary key (person_id, item_id, role, identity_id, started_at)
);

comment on table track.item_role is $$
Roles of people in items, as stored by the application: who teaches an item, assists in it, or wrote it.
One row per period.
A role applies to all that the item contains. Instructors and assistants see the learners of their courses from
`started_at` until `ended_at`; authors do not. `track.sync_item_roles` writes the rows.
$$;
comment on column track.item_role.person_id is $$Person that has the role.$$;
comment on column track.item_role.item_id is $$Item, usually a course.$$;
comment on column track.item_role.role is $$`instructor`, `assistant` or `author`.$$;
comment on column track.item_role.started_at is $$
Time from which the person has the role; `-infinity`: no limit.
$$;
comment on column track.item_role.ended_at is $$
Time until which the person has the role, exclusive; `infinity`: no limit.
$$;
comment on column track.item_role.identity_id is $$Identity to which the application gave the role.$$;

create index if not exists item_role_item on track.item_role (item_id);
create index if not exists item_role_identity on track.item_role (identity_id);

alter table track.item_role enable row level security;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'item_role', 'person_id', 'person', 'service', 'Person that teaches or wrote the item.')
on conflict (schema_name, table_name, column_name) do nothing;

grant usage on schema analytics to insights_instructor;

do $do$
begin
  if to_regtype('track.taught_course') is null then
    create type track.taught_course as (
      course text,
      title text,
      role text,
      started_at timestamptz,
      ended_at timestamptz
    );
  end if;
  if to_regtype('analytics.course_learner') is null then
    create type analytics.course_learner as (
      person text,
      name text,
      status text,
      enrolled_at timestamptz,
      ended_at timestamptz,
      first_active_at timestamptz,
      last_active_at timestamptz,
      active_days int,
      event_count bigint,
      engaged interval,
      used_items int,
      submitted_tasks int,
      share_of_items float8,
      share_of_tasks float8
    );
  end if;
  if to_regtype('analytics.course_action') is null then
    create type analytics.course_action as (
      occurred_at timestamptz,
      event text,
      item text,
      item_kind text,
      item_title text,
      engaged interval,
      is_automatic boolean
    );
  end if;
end;
$do$;

comment on type track.taught_course is $$
A course that the signed-in person teaches now.
$$;
comment on column track.taught_course.course is $$External id of the course.$$;
comment on column track.taught_course.title is $$Title of the course; null when unknown.$$;
comment on column track.taught_course.role is $$
`instructor` or `assistant`: the role in the course, or in an item that contains it.
$$;
comment on column track.taught_course.started_at is $$Time from which the person has the role; null: no limit.$$;
comment on column track.taught_course.ended_at is $$
Time until which the person has the role, exclusive; null: no limit.
$$;

comment on type analytics.course_learner is $$
A learner of a course, with the activity in the course.
The name and the columns from `first_active_at` on are null for a person who has opted out of the purpose `analytics`.
$$;
comment on column analytics.course_learner.person is $$Name of the person in the application: the `userId`.$$;
comment on column analytics.course_learner.name is $$
Trait `name`, or else the traits `firstName` and `lastName`; null when unknown.
$$;
comment on column analytics.course_learner.status is $$
Enrolment: `active`, `completed` or `dropped`; null for a person who is active in the course without an enrolment.
$$;
comment on column analytics.course_learner.enrolled_at is $$Start of the enrolment; null without one.$$;
comment on column analytics.course_learner.ended_at is $$
Time at which the course was completed or dropped; null otherwise.
$$;
comment on column analytics.course_learner.first_active_at is $$
Time of the first event of the person in the course, within the period; null when there is none.
$$;
comment on column analytics.course_learner.last_active_at is $$
Time of the last event of the person in the course, within the period; null when there is none.
$$;
comment on column analytics.course_learner.active_days is $$Number of days (UTC) with an event in the course.$$;
comment on column analytics.course_learner.event_count is $$Number of events in the course, without automatic ones.$$;
comment on column analytics.course_learner.engaged is $$Engaged time in the course.$$;
comment on column analytics.course_learner.used_items is $$
Number of items of the course that were used, without courses and modules.
$$;
comment on column analytics.course_learner.submitted_tasks is $$
Number of tasks of the course that were submitted or completed.
$$;
comment on column analytics.course_learner.share_of_items is $$
Share of the items of the course that were used; null for a course without items.
$$;
comment on column analytics.course_learner.share_of_tasks is $$
Share of the tasks of the course that were submitted or completed; null for a course without tasks.
$$;

comment on type analytics.course_action is $$
An event of a learner in a course.
Without the properties and the session of the event, which may tell what the person did outside of the course.
$$;
comment on column analytics.course_action.occurred_at is $$Time of the event.$$;
comment on column analytics.course_action.event is $$Name of the event.$$;
comment on column analytics.course_action.item is $$External id of the item.$$;
comment on column analytics.course_action.item_kind is $$Kind of the item.$$;
comment on column analytics.course_action.item_title is $$Title of the item; null when unknown.$$;
comment on column analytics.course_action.engaged is $$
Engaged time of the page view that the event opened; null when it opened none, and until the next refresh.
$$;
comment on column analytics.course_action.is_automatic is $$
Whether the event happened without an action of the person, such as a grade.
$$;
