-- Changes of structure since the last release: see migrations/README.md.

-- Sessions: views of earlier sessions, intervals of heartbeats, automatic events.
alter table track.setting
  add column if not exists longest_view interval not null default '30 days' check (longest_view >= '0');
alter table track.source
  add column if not exists heartbeat interval check (heartbeat > '0'),
  add column if not exists is_automatic boolean not null default false;
alter table track.event_type add column if not exists is_automatic boolean not null default false;
alter table track.page_view
  add column if not exists is_continued boolean not null default false,
  add column if not exists view_key bigint;
alter table analytics.activity add column if not exists automatic_count int not null default 0;
create index if not exists page_view_opened on track.page_view (person_id, view_key, started_at)
where view_key is not null and not is_continued;
create index if not exists page_view_continued on track.page_view (person_id, started_at) where is_continued;
create table if not exists track.automatic_period (
  person_id bigint primary key,
  since timestamptz not null,
  until timestamptz not null,
  check (since <= until)
);

comment on table track.automatic_period is $$
@behavior -*
People with events in no session (of an automatic event type or source), and the period of these events.
Together with the sessions and `track.stale`, it bounds the time of all events of a person, so that a merge reads no
other months. Maintained by `track.refresh_sessions`.
$$;
comment on column track.automatic_period.person_id is $$Person.$$;
comment on column track.automatic_period.since is $$Time of the earliest such event, or earlier.$$;
comment on column track.automatic_period.until is $$Time of the latest such event, or later.$$;
alter table track.automatic_period enable row level security;
comment on table track.setting is $$
Settings of the collection: one row.
After a change of `session_timeout`, `heartbeat`, `minimum_visit`, `longest_gap` or `longest_view`,
`select track.rebuild()` applies it to the stored events.
$$;
comment on column track.setting.heartbeat is $$
Interval at which clients send heartbeats while a page is in use.
A source may have another (`track.source.heartbeat`), and so may a message (`properties.interval`, in seconds).
$$;
comment on column track.setting.minimum_visit is $$Engaged time that the first heartbeat of a page view confirms.$$;
comment on column track.setting.longest_gap is $$
Maximum engaged time that is counted for the gap after an event, for clients without heartbeats.
$$;
comment on column track.setting.longest_view is $$
Maximum time from the opening of a page to the first heartbeat of a later session that names its `viewId`.
The item of views that were opened earlier is unknown.
$$;
comment on table track.source is $$
Sources of messages, such as an application or an importer. Message ids are unique within a source.
$$;
comment on column track.source.name is $$Name of the source. Clients give it as the setting `insights.source`.$$;
comment on column track.source.heartbeat is $$
Interval of the heartbeats of this source; null: that of `track.setting`.
After a change, run `select track.rebuild()`.
$$;
comment on column track.source.is_automatic is $$
Whether a program sends these events without an action of their person, such as a nightly import of grades.
Such events are in no session. After a change, run `select track.rebuild()`.
$$;
comment on column track.event_type.is_automatic is $$
Whether such an event happens without an action of its person, such as a grade by a teacher.
It is then in no session, opens no page view and adds no engaged time. After a change, run `select track.rebuild()`.
$$;
comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Sessions: events of a person without a pause longer than `track.setting.session_timeout`.
Derived from the events; the rows are always the same as those of a computation from scratch. Events of an automatic
type or source are in no session.
$$;
comment on column track.session.started_at is $$
Time of the first event.
When it is a heartbeat, `track.setting.minimum_visit` before it, which is the time that it confirms.
$$;
comment on column track.session.view_count is $$
Number of page views that were opened in the session; continued ones are not counted.
$$;
comment on column track.session.engaged is $$
Engaged time: the sum over the page views.
Each moment counts for one page view only, so that the sum is never longer than the session.
$$;
comment on column track.session.engaged_by is $$
Method of measuring the engaged time.
`heartbeats` (for at least one page view), `gaps` (to the next event) or `nothing` (no page view).
$$;
comment on table track.page_view is $$
@foreignKey (item_id) references track.item (item_id)
Page views with their engaged time.
Derived from the events; the rows are always the same as those of a computation from scratch.
A page view belongs to one session. Heartbeats that name a view (`properties.viewId`) that was not opened in their
session continue it: they form a page view of their own, of the item of that view.
With heartbeats: each heartbeat confirms the time since the previous heartbeat of the session or the opening of its
page view, at most one interval (at most `track.setting.minimum_visit` for the first heartbeat of the page view). For
one page at a regular interval this is Snowplow's formula, interval * (distinct heartbeats - 1) + minimum visit.
Without heartbeats: the sum of the gaps between the events up to the next view, each capped at
`track.setting.longest_gap`, without the time that heartbeats of other page views confirm. A page view without
heartbeats has no engaged time when its client (source, identity, with or without `viewId`) sent heartbeats for
another page view of the session: it was left before the first one.
$$;
comment on column track.page_view.event_id is $$
Event that opened the page view; for a continued one, its first heartbeat.
$$;
comment on column track.page_view.view_number is $$
Number of the page view within the session, from 1, in order of time; continued ones included.
$$;
comment on column track.page_view.item_id is $$
Item that was viewed; null when the event names none.
For a continued page view, the item of the view that was opened earlier; when that is unknown, the item that the first
heartbeat names.
$$;
comment on column track.page_view.started_at is $$
Time at which the page was opened; for a continued page view, the start of its engaged time.
$$;
comment on column track.page_view.is_continued is $$
Whether the page was opened in an earlier session, or its opening is unknown. Not a further visit of the page.
$$;
comment on column track.page_view.view_key is $$
@behavior -*
64-bit hash of the `viewId`; null when the client sent none.
$$;
comment on column track.message_sender.person is $$The `userId` that a learner may send; null for other senders.$$;
comment on column track.action.session_id is $$
Session; null until the next refresh of the sessions, and for events of an automatic type or source.
$$;
comment on column track.action.action_number is $$
Number of the action within the session, from 1; null for events of an automatic type or source.
$$;
comment on column track.action.since_previous is $$
Time since the previous action of the session; null for the first one, and for events of an automatic type or source.
$$;
comment on column analytics.activity.event_count is $$
Number of events. 0 for the engaged time of a continued page view, if no heartbeat names its item.
$$;
comment on column analytics.activity.engaged is $$
Engaged time of the page views that these events opened or continued.
$$;
comment on column analytics.activity.automatic_count is $$
Number of these events that are of an automatic type or source: not an activity of the person.
$$;
-- Types of these names that exist stay as they are.
insert into track.event_type (name, is_automatic, description)
values
  ('Task Graded', true, 'A teacher or a program graded a submission of the person.'),
  ('Grade Changed', true, 'A teacher or a program changed a grade of the person.'),
  ('Badge Awarded', true, 'The person was awarded a badge.'),
  ('Certificate Issued', true, 'A certificate was issued to the person.'),
  ('Course Assigned', true, 'A teacher or a program enrolled the person in a course.'),
  ('Enrolment Changed', true, 'A teacher or a program changed an enrolment of the person.'),
  ('Reminder Sent', true, 'A reminder was sent to the person.'),
  ('Deadline Passed', true, 'A deadline of the person passed.')
on conflict (name) do nothing;
insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'automatic_period', 'person_id', 'track.event', 'Derived from the events of the person.')
on conflict do nothing;
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'automatic_period', 'person_id', 'person', 'analytics', 'Person that the events are about.')
on conflict do nothing;
