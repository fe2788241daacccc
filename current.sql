-- Changes of structure since the last release: see migrations/README.md.

-- Page views in the sessions
/*
 * The rows of the table track.page_view stay, under another name, in the view track.page_view, until `insights migrate`
 * has moved them into the sessions, a few hundred people at a time: see src/database/page-views.ts.
 */
alter table track.session add column if not exists view_event_ids uuid[];
alter table track.session add column if not exists view_item_ids bigint[];
alter table track.session add column if not exists view_starts bigint[];
alter table track.session add column if not exists view_ends bigint[];
alter table track.session add column if not exists view_engaged bigint[];
alter table track.session add column if not exists view_heartbeats int[];
alter table track.session add column if not exists view_continued boolean[];
alter table track.session add column if not exists view_keys bigint[];
create index if not exists session_continued on track.session (person_id, ended_at) where view_continued is not null;

comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Sessions: events of a person without a pause longer than `track.setting.session_timeout`.
Derived from the events; the rows are always the same as those of a computation from scratch. Events of an automatic
type or source are in no session.
$$;
comment on column track.session.view_event_ids is $$
@behavior -*
Events of the page views: see `track.page_view.event_id`. Null when there is no page view.
The columns `view_…` contain the page views of the session, one element per page view in the order of their numbers;
`track.page_view` shows them as rows. An element is null when its value is the usual one, and a list when all its
elements are.
$$;
comment on column track.session.view_item_ids is $$
@behavior -*
Items that were viewed. Keys of `track.item`; null when the event names none.
$$;
comment on column track.session.view_starts is $$
@behavior -*
Start of each page view, in microseconds after `started_at`.
$$;
comment on column track.session.view_ends is $$
@behavior -*
End of each page view, in microseconds after `started_at`.
Null: the start of the next page view; for the last one, the end of the session.
$$;
comment on column track.session.view_engaged is $$
@behavior -*
Engaged time of each page view, in microseconds. Null: the time from its start to its end.
$$;
comment on column track.session.view_heartbeats is $$
@behavior -*
Number of heartbeats of each page view.
-1 when its engaged time was measured by nothing, null when it was measured by gaps: both have no heartbeats.
$$;
comment on column track.session.view_continued is $$
@behavior -*
Whether a page view is a continued one; null: it is not.
$$;
comment on column track.session.view_keys is $$
@behavior -*
64-bit hashes of the `viewId`; null when the client sent none.
$$;

do $$
begin
  if exists (select from pg_class where oid = to_regclass('track.page_view') and relkind = 'r') then
    alter table track.page_view rename to stored_page_view;
    comment on table track.stored_page_view is '@behavior -*';
  end if;
end;
$$;

create or replace view track.page_view_of_sessions
with (security_invoker = true)
as
select
  session.person_id,
  viewed.event_id,
  session.session_id,
  viewed.view_number::int as view_number,
  viewed.item_id,
  session.started_at + viewed.start * interval '1 microsecond' as started_at,
  coalesce(
    session.started_at + coalesce(viewed.ended, viewed.next_start) * interval '1 microsecond',
    session.ended_at
  ) as ended_at,
  coalesce(
    viewed.engaged * interval '1 microsecond',
    (coalesce(viewed.ended, viewed.next_start) - viewed.start) * interval '1 microsecond',
    session.ended_at - (session.started_at + viewed.start * interval '1 microsecond')
  ) as engaged,
  case
    when viewed.heartbeats is null then 'gaps'
    when viewed.heartbeats < 0 then 'nothing'
    else 'heartbeats'
  end as engaged_by,
  greatest(viewed.heartbeats, 0) as heartbeat_count,
  coalesce(viewed.is_continued, false) as is_continued,
  viewed.view_key
from track.session
cross join lateral unnest(
  session.view_event_ids, session.view_item_ids, session.view_starts, session.view_starts[2:], session.view_ends,
  session.view_engaged, session.view_heartbeats, session.view_continued, session.view_keys
) with ordinality as viewed (
  event_id, item_id, start, next_start, ended, engaged, heartbeats, is_continued, view_key, view_number
);

comment on view track.page_view_of_sessions is '@behavior -*';
grant select on track.page_view_of_sessions to insights_reader, insights_learner, insights_admin;

do $$
begin
  if to_regclass('track.stored_page_view') is not null and not exists (select from track.stored_page_view) then
    drop table track.stored_page_view;
  end if;
  execute 'create or replace view track.page_view with (security_invoker = true) as '
    || case
      when to_regclass('track.stored_page_view') is null then pg_get_viewdef('track.page_view_of_sessions'::regclass)
      else '
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key
        from track.page_view_of_sessions
        union all
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key
        from track.stored_page_view'
    end;
  if to_regclass('track.stored_page_view') is null then
    drop view track.page_view_of_sessions;
  end if;
end;
$$;
grant select on track.page_view to insights_reader, insights_learner, insights_admin;

comment on view track.page_view is $$
@primaryKey person_id,event_id
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
comment on column track.page_view.person_id is $$
@notNull
Person.
$$;
comment on column track.page_view.event_id is $$
@notNull
Event that opened the page view; for a continued one, its first heartbeat.
$$;
comment on column track.page_view.session_id is $$
@notNull
Session that contains the page view.
$$;
comment on column track.page_view.view_number is $$
@behavior -filterBy -orderBy
@notNull
Number of the page view within the session, from 1, in order of time; continued ones included.
$$;
comment on column track.page_view.item_id is $$
Item that was viewed; null when the event names none.
For a continued page view, the item of the view that was opened earlier; when that is unknown, the item that the first
heartbeat names.
$$;
comment on column track.page_view.started_at is $$
@notNull
Time at which the page was opened; for a continued page view, the start of its engaged time.
$$;
comment on column track.page_view.ended_at is $$
@behavior -filterBy -orderBy
@notNull
Time of the last heartbeat or other event of the page view, or of the next view.
$$;
comment on column track.page_view.engaged is $$
@behavior -filterBy -orderBy
@notNull
Engaged time.
$$;
comment on column track.page_view.engaged_by is $$
@behavior -filterBy -orderBy
@notNull
Method of measuring the engaged time.
`heartbeats`, `gaps` (between events), or `nothing` for the last view of a session, whose duration is unknown and
counted as zero.
$$;
comment on column track.page_view.heartbeat_count is $$
@behavior -filterBy -orderBy
@notNull
Number of heartbeats received, including duplicates.
$$;
comment on column track.page_view.is_continued is $$
@behavior -filterBy -orderBy
@notNull
Whether the page was opened in an earlier session, or its opening is unknown. Not a further visit of the page.
$$;
comment on column track.page_view.view_key is $$
@behavior -*
64-bit hash of the `viewId`; null when the client sent none.
$$;

delete from track.distribution where schema_name = 'track' and table_name = 'page_view';
update track.distribution
set description = 'Derived from the events of the person, with the page views.'
where schema_name = 'track'
  and table_name = 'session';

delete from privacy.data_map where schema_name = 'track' and table_name = 'page_view';
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'session', 'view_item_ids', 'behaviour', 'analytics', 'Items that the person viewed.'),
  ('track', 'session', 'view_keys', 'behaviour', 'analytics', 'Hashes of the `viewId` of the page views.')
on conflict do nothing;

/* Journeys and presence: what every analysis reads. All people are queued, so that the refresh fills the tables. */
do $$
begin
  if to_regclass('track.step') is null then
    insert into track.stale (person_id, since, until)
    select person.person_id, '-infinity', 'infinity'
    from track.person
    where person.person_id <> 0
      or exists (select from track.event where event.person_id = 0);
  end if;
end;
$$;

create table if not exists track.step (
  person_id bigint not null,
  event_type_id int not null,
  is_automatic boolean not null,
  since date not null,
  occurred_at timestamptz[] not null check (cardinality(occurred_at) > 0),
  item_ids int[] not null check (cardinality(item_ids) = cardinality(occurred_at)),
  primary key (person_id, event_type_id, is_automatic, since)
)
-- Room in each page, so that most updates change no index.
with (fillfactor = 80);

comment on table track.step is $$
@behavior -*
The journeys of people: the times and items of their events, one row per person, event type and year.
Times ascend (equal ones by item), so that `width_bucket` finds a position by binary search. Derived from the events
by `track.refresh_sessions`; the rows are always the same as those of a computation from scratch. What the tables of
presence and sums contain is what these rows and the page views of the sessions contain.
$$;
comment on column track.step.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.step.event_type_id is $$Event type.$$;
comment on column track.step.is_automatic is $$
Whether the events are of an automatic type or source: not activities of the person.
$$;
comment on column track.step.since is $$
First day (UTC) of the year of the events; for person 0 the day of the events, which bounds the length of a row.
$$;
comment on column track.step.occurred_at is $$Times of the events.$$;
comment on column track.step.item_ids is $$Item of each event; 0 for events that name none.$$;

create table if not exists track.presence (
  event_type_id int not null,
  day date not null,
  block int not null check (block >= 0),
  people bit(4096) not null,
  event_count int not null check (event_count >= 0),
  counted_count int not null check (counted_count >= 0),
  primary key (event_type_id, day, block),
  check (bit_count(people) > 0 or event_count > 0)
);

comment on table track.presence is $$
@behavior -*
The people with events of a type on a day, one bit per person, and the number of events.
Distinct people over any days are `bit_count(bit_or(people))` by block; sets of people (`track.person_set_blocks`) are
filters by `&`. Maintained by `track.refresh_sessions`.
$$;
comment on column track.presence.event_type_id is $$Event type; 0 for any event that is not automatic.$$;
comment on column track.presence.day is $$Day, UTC.$$;
comment on column track.presence.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.presence.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`. Person 0 has no bit.
$$;
comment on column track.presence.event_count is $$
Number of events of the people of the block who are not in the set `excluded`.
$$;
comment on column track.presence.counted_count is $$
Number of events of the people of the block who are in the set `counted`.
$$;

create table if not exists track.item_month (
  item_id bigint not null references track.item,
  month date not null,
  part int not null check (part >= 0),
  people smallint[] not null check (cardinality(people) > 0),
  days int[] not null check (cardinality(days) = cardinality(people)),
  event_count int not null,
  engaged interval not null,
  primary key (item_id, month, part)
)
with (fillfactor = 80);

comment on table track.item_month is $$
@behavior -*
The people with events or page views of an item in a month, with the days, and sums.
Items that it contains are not included. Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_month.item_id is $$Item.$$;
comment on column track.item_month.month is $$First day of the month, UTC.$$;
comment on column track.item_month.part is $$Number of the part of the people: `person_id / 32768`.$$;
comment on column track.item_month.people is $$
People of the part: `person_id % 32768`, ascending. Person 0 (anonymized events) is not contained.
$$;
comment on column track.item_month.days is $$
Days of the month of each person: `1 << (day - 1)` for each day, combined by `|`.
$$;
comment on column track.item_month.event_count is $$Number of events of the people in the set `counted`.$$;
comment on column track.item_month.engaged is $$Engaged time of the people in the set `counted`.$$;

create table if not exists track.item_day (
  day date not null,
  item_id bigint not null,
  with_parts boolean not null,
  event_count int not null,
  person_count int not null check (person_count > 0),
  engaged interval not null,
  primary key (with_parts, day, item_id)
);

comment on table track.item_day is $$
@behavior -*
Events, people and engaged time of an item on a day, of the people in the set `counted`.
Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_day.day is $$Day, UTC.$$;
comment on column track.item_day.item_id is $$Item.$$;
comment on column track.item_day.with_parts is $$
Whether the items that it contains are included. Courses have a row with and one without them, other items one without.
$$;
comment on column track.item_day.event_count is $$Number of events.$$;
comment on column track.item_day.person_count is $$Number of people with events or page views.$$;
comment on column track.item_day.engaged is $$
Engaged time of the page views that were opened or continued on the day.
$$;

create table if not exists track.course_presence (
  item_id bigint not null references track.item,
  month date not null,
  block int not null check (block >= 0),
  people bit(4096) not null check (bit_count(people) > 0),
  members smallint[] not null check (cardinality(members) = bit_count(people)),
  days int[] not null check (cardinality(days) = cardinality(members)),
  primary key (item_id, month, block)
);

comment on table track.course_presence is $$
@behavior -*
The people with events or page views of a course, or of an item it contains, in a month: one bit per person, and days.
Whole months are read from the bits, parts of months from the days.
Maintained by `track.refresh_sessions`. Courses in `track.stale_course` are out of
date.
$$;
comment on column track.course_presence.item_id is $$Course: an item of the kind `course`.$$;
comment on column track.course_presence.month is $$First day of the month, UTC.$$;
comment on column track.course_presence.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.course_presence.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`. Person 0 has no bit.
$$;
comment on column track.course_presence.members is $$
These people: `person_id % 4096`, ascending.
$$;
comment on column track.course_presence.days is $$
Days of the month of each of them: `1 << (day - 1)` for each day, combined by `|`.
$$;

create table if not exists track.stale_course (
  item_id bigint not null references track.item,
  stale_id uuid not null default gen_random_uuid(),
  primary key (item_id, stale_id)
);

comment on table track.stale_course is $$
@behavior -*
Courses whose presence is out of date, because the items that they contain changed, or their kind.
Append-only, so that writers never wait for a refresh. Consumed by `track.refresh_sessions`.
$$;
comment on column track.stale_course.item_id is $$Item that is, or was, a course.$$;
comment on column track.stale_course.stale_id is $$Key of the row.$$;

do $$
begin
  if to_regtype('track.activity') is null then
    create type track.activity as (
      person_id bigint,
      day date,
      event_type_id int,
      item_id bigint,
      event_count int,
      engaged interval,
      automatic_count int
    );
  end if;
end;
$$;

comment on type track.activity is $$
Activity of a person on a day (UTC) with an item: events of a type, or page views.
$$;
comment on column track.activity.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.activity.day is $$Day, UTC.$$;
comment on column track.activity.event_type_id is $$Event type; 0 for page views.$$;
comment on column track.activity.item_id is $$Item; null when there is none.$$;
comment on column track.activity.event_count is $$Number of events; 0 for page views.$$;
comment on column track.activity.engaged is $$
Engaged time of the page views that were opened or continued on the day; 0 for events.
$$;
comment on column track.activity.automatic_count is $$
Number of these events that are of an automatic type or source: not an activity of the person.
$$;

insert into track.person_set (name, description, members)
values ('excluded', 'People who count in no figure: those of track.exclude_person.', 'track.excluded_people')
on conflict do nothing;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('track', 'step', 'person_id', 'track.event', 'Derived from the events of the person.')
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'step', 'person_id', 'person', 'analytics', 'Person of the events.'),
  ('track', 'presence', 'people', 'derived', 'analytics', 'People with events on a day, one bit per person.'),
  ('track', 'item_month', 'people', 'derived', 'analytics', 'People who used an item in a month.'),
  ('track', 'course_presence', 'people', 'derived', 'analytics', 'People who used a course in a month, one bit each.')
on conflict do nothing;

alter table track.step enable row level security;
alter table track.presence enable row level security;
alter table track.item_month enable row level security;
alter table track.item_day enable row level security;
alter table track.course_presence enable row level security;
alter table track.stale_course enable row level security;

/* The rollup of activity by person and day is replaced by them. */
drop function if exists analytics._days_of_people(bigint[], date[], date[], int, boolean);
drop function if exists analytics._queued_days(date, date, bigint[]);
drop function if exists analytics.refresh_activity(bigint[], timestamptz[], timestamptz[]);
delete from track.consumer where consumer = 'analytics.activity';
delete from track.distribution where schema_name = 'analytics' and table_name = 'activity';
delete from privacy.data_map where schema_name = 'analytics' and table_name = 'activity';
drop materialized view if exists analytics.item_popularity;
drop table if exists analytics.activity;
create materialized view analytics.item_popularity as
with counted as materialized (
  select person_set_block.block, person_set_block.people
  from track.person_set_block
  where person_set_block.name = 'counted'
),

summed as (
  select item_month.item_id, sum(item_month.event_count) as event_count, sum(item_month.engaged) as engaged
  from track.item_month
  group by item_month.item_id
),

aged as (
  select
    item_day.item_id,
    max(item_day.day) as last_day,
    -- Halved per 30 days of age, as of the latest day with activity.
    sum(item_day.event_count * 0.5::float8 ^ least(1000, (newest.day - item_day.day) / 30::float8))
      as decayed_event_count
  from track.item_day
  cross join (select max(day) as day from track.item_day) as newest
  where not item_day.with_parts
  group by item_day.item_id
),

-- The people of courses are in their bits. Those of other items are read from the months of what they contain.
used as (
  select by_block.item_id, sum(bit_count(by_block.people & counted.people)) as person_count
  from (
    select course_presence.item_id, course_presence.block, bit_or(course_presence.people) as people
    from track.course_presence
    group by course_presence.item_id, course_presence.block
  ) as by_block
  join counted using (block)
  group by by_block.item_id

  union all

  select distinct_person.item_id, count(*)
  from (
    select distinct ancestor.ancestor_item_id as item_id, item_month.part, listed.person
    from track.item_month
    join track.item_ancestor as ancestor using (item_id)
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind <> 'course'
    cross join lateral unnest(item_month.people) as listed (person)
  ) as distinct_person
  join counted
    on counted.block = distinct_person.part * 8 + distinct_person.person / 4096
    and get_bit(counted.people, distinct_person.person % 4096) <> 0
  group by distinct_person.item_id
)

select
  used.item_id,
  sum(summed.event_count) as event_count,
  used.person_count::bigint as person_count,
  sum(summed.engaged) as engaged,
  max(aged.last_day) as last_day,
  sum(aged.decayed_event_count) as decayed_event_count
from used
join track.item_ancestor as ancestor on ancestor.ancestor_item_id = used.item_id
join summed on summed.item_id = ancestor.item_id
left join aged on aged.item_id = ancestor.item_id
where used.person_count > 0
group by used.item_id, used.person_count
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
Use of each item and the items it contains by counted people, over all time. Refreshed concurrently by a worker.
Recommendations for unknown people are ranked by it.
$$;
comment on column analytics.item_popularity.item_id is $$Item.$$;
comment on column analytics.item_popularity.event_count is $$
Number of events of counted people, of the item and of those it contains.
$$;
comment on column analytics.item_popularity.person_count is $$Number of distinct counted people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Latest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$
Number of events, each halved per 30 days of age.
$$;

create unique index item_popularity_item on analytics.item_popularity (item_id);


-- The floor: analysts and admins have functions of their own, which the public ones call.
drop function if exists analytics._trend(int, text, timestamptz, timestamptz, int, int);
drop function if exists analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, int);
alter function analytics.trend(text, text, timestamptz, timestamptz, int) owner to insights_owner;
alter function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) owner to insights_owner;
alter function analytics.course_outlook(text, timestamptz) owner to insights_owner;
revoke select on monitor.run from insights_analyst;
comment on column analytics.setting.smallest_group is $$
Minimum number of people in a figure for analysts, and the unit of rounding (k-anonymity).
Smaller groups read as empty ones; 1: exact figures.
$$;
comment on type analytics.trend_point is $$
A time bucket with its events, people, running average and slope.
For analysts, figures are rounded, and a bucket of too few people is 0.
$$;
comment on column analytics.trend_point.event_count is $$Number of events.$$;
comment on column analytics.trend_point.person_count is $$Number of distinct people.$$;
comment on column analytics.trend_point.is_complete is $$
Whether the bucket has ended. Others are excluded from average and slope.
$$;
comment on column analytics.course_outlook.mean_score is $$
Mean of the scores. Multiplied by `person_count`, it is the expected number of dropouts or completions.
For analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.lower_quartile is $$
Lower quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;
comment on column analytics.course_outlook.upper_quartile is $$
Upper quartile of the scores; for analysts rounded, and null when there are too few learners.
$$;

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
comment on column track.item_role.item_id is $$
Item, usually a course, as the application names it: see `track.applied_item_role`.
$$;
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

-- Names of events and items ------------------------------------------------------------------------------------------

drop function if exists track.merge_items(text, text);
drop function if exists track._merge_items(bigint[], bigint[]);
drop function if exists track._merge_item(bigint, bigint);

alter table track.item add column if not exists target_item_id bigint references track.item;
do $do$
begin
  if not exists (
    select from pg_catalog.pg_constraint
    where conrelid = 'track.item'::regclass and pg_get_constraintdef(oid) like '%target_item_id <> item_id%'
  ) then
    alter table track.item add check (target_item_id <> item_id);
  end if;
end;
$do$;
update track.item set target_item_id = merged_item_id where merged_item_id is not null and target_item_id is null;
create index if not exists item_target on track.item (target_item_id) where target_item_id is not null;

comment on column track.item.merged_item_id is $$
Item of which this one is only a further name, because `track.merge_items` merged it; null otherwise.
$$;
comment on column track.item.target_item_id is $$
Item that the merge named: `merged_item_id`, or an item that was itself merged into that one. Null when not merged.
$$;

create table if not exists track.named_item (
  item_id bigint primary key references track.item,
  kind text not null,
  title text,
  parent_item_id bigint references track.item,
  url text,
  language text,
  attributes jsonb not null,
  available_from timestamptz,
  available_until timestamptz,
  due_at timestamptz
);

comment on table track.named_item is $$
@behavior -*
Descriptions of the items of a merge, each under its own name, so that the merge can be undone.
A row for each item that is merged or the target of a merge, and for each item whose parent is merged. The rows of these
items in `track.item` are computed from here (`track._describe_merged`).
$$;
comment on column track.named_item.item_id is $$Item, under its own name.$$;
comment on column track.named_item.kind is $$Kind; `unknown` until it is stated.$$;
comment on column track.named_item.title is $$Title; null when unknown.$$;
comment on column track.named_item.parent_item_id is $$
Parent as it was named, which may be a merged item; null when there is none.
$$;
comment on column track.named_item.url is $$URL; null when unknown.$$;
comment on column track.named_item.language is $$Language of the content (BCP 47); null when unknown.$$;
comment on column track.named_item.attributes is $$Further attributes.$$;
comment on column track.named_item.available_from is $$Time from which the item is available; null: no limit.$$;
comment on column track.named_item.available_until is $$
Time until which the item is available, exclusive; null: no limit.
$$;
comment on column track.named_item.due_at is $$Deadline; null when there is none.$$;

create index if not exists named_item_parent on track.named_item (parent_item_id);

create table if not exists track.named_prerequisite (
  item_id bigint not null references track.item,
  required_item_id bigint not null references track.item,
  primary key (item_id, required_item_id)
);

comment on table track.named_prerequisite is $$
@behavior -*
Prerequisites of merged items and of their targets, with the items as they were named: see `track.named_item`.
$$;
comment on column track.named_prerequisite.item_id is $$Item that has the prerequisite.$$;
comment on column track.named_prerequisite.required_item_id is $$Item that should be finished first.$$;

create index if not exists named_prerequisite_required on track.named_prerequisite (required_item_id);

alter table track.enrolment add column if not exists named_item_id bigint;
create index if not exists enrolment_named on track.enrolment (named_item_id) where named_item_id is not null;
comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Enrolments of people in items, as stored by the application.
Of the enrolments of an identity under several names of a merged item, the one of the item's own name counts, or else
the latest one. The others keep the merged item, whose kind is `merged`.
$$;
comment on column track.enrolment.named_item_id is $$
Item that the application named, when it was merged into `item_id`; null otherwise.
$$;

do $do$
declare
  v_column text;
begin
  foreach v_column in array array['merged_event_type_id', 'target_event_type_id', 'former_event_type_id'] loop
    if not exists (
      select from pg_catalog.pg_attribute where attrelid = 'track.event_type'::regclass and attname = v_column
    ) then
      execute format('alter table track.event_type add column %I int references track.event_type', v_column);
      execute format('alter table track.event_type add check (%I <> event_type_id)', v_column);
    end if;
  end loop;
end;
$do$;

comment on column track.event_type.merged_event_type_id is $$
Type of which this one is only a further name, because `track.merge_events` or `track.rename_event` merged it.
Its purpose and its other properties apply. Null otherwise.
$$;
comment on column track.event_type.target_event_type_id is $$
Type that the merge named: `merged_event_type_id`, or a type that was itself merged into that one. Null when not merged.
$$;
comment on column track.event_type.former_event_type_id is $$
Type that `track.rename_event` gave this name; null otherwise.
A setting of the former name, such as that of `recommend.event_weight`, applies to this one, unless there is one of this
name.
$$;

create index if not exists event_type_merged on track.event_type (merged_event_type_id)
where merged_event_type_id is not null;
create index if not exists event_type_target on track.event_type (target_event_type_id)
where target_event_type_id is not null;
create index if not exists event_type_former on track.event_type (former_event_type_id)
where former_event_type_id is not null;

alter table track.event add column if not exists named_event_type_id int;
alter table track.event add column if not exists named_item_id bigint;

comment on column track.event.named_event_type_id is $$
Event type that the message named, when it was merged into `event_type_id`; null otherwise.
$$;
comment on column track.event.named_item_id is $$
Item that the message named, when it was merged into `item_id`; null otherwise.
$$;

create table if not exists track.renamed_month (
  month date primary key
);

comment on table track.renamed_month is $$
@behavior -*
Months of `track.event` to which a change of names is not applied yet.
`track.refresh` empties it (step `track.name`).
$$;
comment on column track.renamed_month.month is $$First day of the month (UTC).$$;

create table if not exists track.name_log (
  log_id uuid primary key default gen_random_uuid(),
  logged_at timestamptz not null default clock_timestamp(),
  action text not null check (
    action in (
      'event renamed', 'event merged', 'event unmerged', 'item renamed', 'item merged', 'item unmerged'
    )
  ),
  name text not null,
  target text not null,
  actor text not null
);

comment on table track.name_log is $$
Log of the names of events and items that were changed by administrators, append-only.
$$;
comment on column track.name_log.log_id is $$Key of the entry.$$;
comment on column track.name_log.logged_at is $$Time of the change.$$;
comment on column track.name_log.action is $$Change, such as `event merged`.$$;
comment on column track.name_log.name is $$Name of the event, or external id of the item.$$;
comment on column track.name_log.target is $$New name or target; of a merge that was undone, its former target.$$;
comment on column track.name_log.actor is $$
Administrator who made the change: the signed-in person, or else the login of the database.
$$;

create index if not exists name_log_time on track.name_log (logged_at);

comment on column track.refreshed.step is $$`track.name`, `track.session`, or a consumer.$$;

comment on column recommend.event_weight.event is $$
Name of the event, as in `track.event_type`.
A merged event has the weight of its target, or else its own; a renamed one that of its former name, unless the new name
has one.
$$;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('track', 'name_log', 'actor', 'identity', 'service', 'Administrator who changed the name.')
on conflict do nothing;

alter table track.named_item enable row level security;
alter table track.named_prerequisite enable row level security;
alter table track.renamed_month enable row level security;
alter table track.name_log enable row level security;

-- Packed messages: track.message keeps its rows, which track.pack_messages moves in steps.

comment on table track.message is $$
Hashes of recent messages, which identify duplicates. Contains no person and no content.
Those of all earlier messages are in `track.packed_message`, where `track.pack_messages` moves them.
$$;

create table if not exists track.packed_message (
  node int primary key check (node >= 256),
  tags smallint[] not null,
  remainders bigint[] not null
)
with (toast_tuple_target = 128, autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);

alter table track.packed_message alter column tags set storage main;
alter table track.packed_message alter column remainders set storage external;

comment on table track.packed_message is $$
Hashes of messages that are no longer in `track.message`, some hundred per row, kept permanently: 88 bits of each.
A row is a node of the binary tree of all hashes. All rows are of the same depth, or of two while rows are split. The
tags are in the row, the remainders out of line: for a message that is new they are read in one of 200 cases.
$$;
comment on column track.packed_message.node is $$
Number of the node: 1, followed by the first bits of its hashes, as many as the depth (`track.message_packing`).
$$;
comment on column track.packed_message.tags is $$Bits 72 to 87 of each hash, in ascending order.$$;
comment on column track.packed_message.remainders is $$
Bits 8 to 71 of the hash of each tag, the last 16 of them combined with the source by exclusive or.
$$;

create table if not exists track.message_packing (
  only_row boolean primary key default true check (only_row),
  depth int not null default 8 check (depth between 8 and 29),
  next_depth int not null default 8 check (next_depth between depth and 29),
  position bigint not null default 0 check (position between 0 and 4294967295),
  step bigint not null default 0,
  messages bigint not null default 0,
  is_behind boolean not null default false,
  cycle_started_at timestamptz not null default now()
);

comment on table track.message_packing is $$
State of the packing of messages: one row.
$$;
comment on column track.message_packing.only_row is $$Always true, so that the table has one row.$$;
comment on column track.message_packing.depth is $$
Number of bits that the key of a row of `track.packed_message` holds.
$$;
comment on column track.message_packing.next_depth is $$
The same for hashes before `position`: greater than `depth` while rows are split.
$$;
comment on column track.message_packing.position is $$
First 32 bits of the hashes at which the next step begins; 0 at the beginning of a cycle.
$$;
comment on column track.message_packing.step is $$Number of steps, which shows that hashes have moved.$$;
comment on column track.message_packing.messages is $$Number of hashes in `track.packed_message`.$$;
comment on column track.message_packing.is_behind is $$
Whether the other steps of the cycle are scheduled at once, because a step found many recent messages.
$$;
comment on column track.message_packing.cycle_started_at is $$
Start of the cycle, which takes a week: a step is scheduled at the part of the week that corresponds to `position`.
$$;

-- After an hour, so that no call of the former track.ingest, which did not know packed messages, still runs.
insert into track.message_packing (cycle_started_at)
values (now() + interval '1 hour')
on conflict do nothing;

alter table track.packed_message enable row level security;
alter table track.message_packing enable row level security;

comment on column track.consumer.consumer is $$Name of the consumer, such as `recommend.interaction`.$$;

-- Checks of the rollups

create table if not exists track.rollup_check (
  check_id bigint not null,
  rollup text not null,
  checked_at timestamptz not null,
  month date not null,
  block int not null,
  day date,
  checked int not null,
  differing int not null check (differing between 0 and checked),
  example text,
  duration interval not null,
  primary key (check_id, rollup)
);

comment on table track.rollup_check is $$
@behavior -*
Results of `track.check_rollups`, one row per check and rollup, of the last 10,000 checks.
$$;
comment on column track.rollup_check.check_id is $$Number of the check, ascending with time.$$;
comment on column track.rollup_check.rollup is $$
Table that was compared with the events; `track.item_month sums` are its columns `event_count` and `engaged`.
$$;
comment on column track.rollup_check.checked_at is $$Time of the check.$$;
comment on column track.rollup_check.month is $$First day of the month that was compared (UTC).$$;
comment on column track.rollup_check.block is $$
Number of the block of people that was compared: `person_id / 4096`. Sums contain the people of all blocks.
$$;
comment on column track.rollup_check.day is $$Day that was compared (UTC), for `track.item_day`; null for others.$$;
comment on column track.rollup_check.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_check.differing is $$
Number of cells that differed from the events, and were written again.
$$;
comment on column track.rollup_check.example is $$Keys of one of the cells that differed; null when none did.$$;
comment on column track.rollup_check.duration is $$Duration of the check.$$;

create index if not exists rollup_check_day on track.rollup_check (day, check_id) where day is not null;

do $do$
begin
  if to_regtype('track.rollup_comparison') is null then
    create type track.rollup_comparison as (checked int, differing int, example text, items bigint[]);
  end if;
end;
$do$;


comment on type track.rollup_comparison is $$
Result of comparing cells of a rollup with the events.
$$;
comment on column track.rollup_comparison.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_comparison.differing is $$Number of cells that differ.$$;
comment on column track.rollup_comparison.example is $$Keys of one of them; null when there is none.$$;
comment on column track.rollup_comparison.items is $$
Items of cells that differ, at most 1000, whose sums are compared too; null for other rollups.
$$;

do $do$
begin
  if to_regtype('track.rollup_trust') is null then
    create type track.rollup_trust as (
      rollup text,
      checked bigint,
      differing bigint,
      score float8,
      checked_at timestamptz,
      differed_at timestamptz
    );
  end if;
end;
$do$;


comment on type track.rollup_trust is $$
Trust score of a rollup: how much of what was compared agreed with the events.
$$;
comment on column track.rollup_trust.rollup is $$Rollup, as in `track.rollup_check`; `all` for all of them.$$;
comment on column track.rollup_trust.checked is $$Number of cells that were compared.$$;
comment on column track.rollup_trust.differing is $$Number of cells that differed, and were written again.$$;
comment on column track.rollup_trust.score is $$
Share of the compared cells that agreed, from 0 to 1; null when none was compared.
$$;
comment on column track.rollup_trust.checked_at is $$Time of the last check.$$;
comment on column track.rollup_trust.differed_at is $$Time of the last check with a difference; null without one.$$;

alter table track.rollup_check enable row level security;
