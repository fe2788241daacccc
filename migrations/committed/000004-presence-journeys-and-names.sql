--! Previous: sha1:8da626c0fd7adc7f3dcfc53008c09a85d71256e0
--! Hash: sha1:b9f16e6e820208a91abccac72929e590007d483b
--! Message: presence, journeys and names

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

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

-- from track/views.sql
create or replace view track.applied_item_role
with (security_invoker = true)
as
select
  item_role.person_id,
  coalesce(item.merged_item_id, item_role.item_id) as item_id,
  item_role.role,
  item_role.started_at,
  item_role.ended_at
from track.item_role
join track.item on item.item_id = item_role.item_id;
comment on view track.applied_item_role is $$
@behavior -*
Roles of people in items, as they apply: a role in a merged item is one in the item of which that is a further name.
$$;
comment on column track.applied_item_role.person_id is $$Person that has the role.$$;
comment on column track.applied_item_role.item_id is $$Item in which the role applies.$$;
comment on column track.applied_item_role.role is $$`instructor`, `assistant` or `author`.$$;
comment on column track.applied_item_role.started_at is $$Time from which the person has the role.$$;
comment on column track.applied_item_role.ended_at is $$Time until which the person has the role, exclusive.$$;
grant select on track.applied_item_role to insights_reader, insights_learner, insights_admin;

-- from track/functions/item_ancestors.sql
create or replace function track._keep_item_ancestors()
returns trigger
language plpgsql
-- A definer: it writes track.item_ancestor, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  if tg_op = 'UPDATE' then
    insert into track.stale_course (item_id)
    select changed.item_id
    from changed
    join former using (item_id)
    where changed.kind <> former.kind
      and 'course' in (changed.kind, former.kind);

    if not exists (
      select
      from changed
      join former using (item_id)
      where changed.parent_item_id is distinct from former.parent_item_id
    ) then
      return null;
    end if;
  elsif not exists (select from changed where parent_item_id is not null) then
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, item_id, 0
    from changed;
    return null;
  end if;

  -- One move at a time: two concurrent moves in one branch of the tree would not see each other's ancestors.
  perform pg_advisory_xact_lock(hashtext('track.item_ancestor'));

  with recursive affected (item_id) as (
    select item_id from changed

    union

    select item.item_id
    from affected
    join track.item on item.parent_item_id = affected.item_id
  ),

  ancestor (item_id, ancestor_item_id, depth, path) as (
    select item_id, item_id, 0, array[item_id]
    from affected

    union all

    select ancestor.item_id, item.parent_item_id, ancestor.depth + 1, ancestor.path || item.parent_item_id
    from ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where item.parent_item_id is not null
      and (item.parent_item_id <> all (ancestor.path) or track._refuse_item_cycle(ancestor.path || item.parent_item_id))
  ),

  removed as (
    delete from track.item_ancestor
    using affected
    where item_ancestor.item_id = affected.item_id
      and not exists (
        select
        from ancestor
        where ancestor.item_id = item_ancestor.item_id
          and ancestor.ancestor_item_id = item_ancestor.ancestor_item_id
      )
    returning item_ancestor.ancestor_item_id
  ),

  stored as (
    insert into track.item_ancestor (item_id, ancestor_item_id, depth)
    select item_id, ancestor_item_id, depth
    from ancestor
    on conflict (item_id, ancestor_item_id) do update
    set depth = excluded.depth
    where item_ancestor.depth <> excluded.depth
    returning item_ancestor.ancestor_item_id
  )

  -- New items have no activity yet.
  insert into track.stale_course (item_id)
  select changed_course.item_id
  from (
    select ancestor_item_id from removed
    union
    select ancestor_item_id from stored
  ) as changed_ancestor
  join track.item as changed_course on changed_course.item_id = changed_ancestor.ancestor_item_id
  where changed_course.kind = 'course'
    and tg_op = 'UPDATE';

  return null;
end;
$$;
comment on function track._keep_item_ancestors() is $$
Trigger: updates `track.item_ancestor` for the items that a statement created or moved, and their descendants.
Queues the courses whose items changed (`track.stale_course`).
$$;

--! Included track/identities/_move_events.sql
create or replace function track._move_events(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_period tstzrange;
begin
  perform track._refuse_old_names();
  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh. For most browsers these are a few days; a new one has none. The periods are rounded to months. The
  -- months between them are not read, since they contain no event. Infinite periods are left out: `track.rebuild`
  -- queues them, and adds no event.
  for v_period in
    select unnest(range_agg(tstzrange(
      date_trunc('month', greatest(period.since, span.since) at time zone 'UTC') at time zone 'UTC',
      (date_trunc('month', least(period.until, span.until) at time zone 'UTC') + interval '1 month') at time zone 'UTC'
    )))
    from (
      select distinct entry.person_id, entry.since, entry.until
      from unnest(_move_events.old_people, _move_events.since, _move_events.until) as entry (person_id, since, until)
    ) as span
    join (
      select stale.person_id, stale.since, stale.until
      from track.stale
      where stale.person_id = any (_move_events.old_people)
        and isfinite(stale.since)
        and isfinite(stale.until)
      union all
      select session.person_id, session.started_at, session.ended_at
      from track.session
      where session.person_id = any (_move_events.old_people)
      union all
      select automatic_period.person_id, automatic_period.since, automatic_period.until
      from track.automatic_period
      where automatic_period.person_id = any (_move_events.old_people)
    ) as period
      on period.person_id = span.person_id
      and period.since < span.until
      and period.until >= span.since
  loop
    -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
    -- each execution, so that only the partitions of these months are planned for, locked and read.
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as moved (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = moved.old_person_id
          and event.identity_id = moved.identity_id
          and event.occurred_at >= moved.since
          and event.occurred_at < moved.until
          and event.occurred_at >= $7
          and event.occurred_at < $8
        returning moved.old_person_id, moved.new_person_id, moved.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at, named_event_type_id, named_item_id
        )
        -- By the names of today: a change of names may not be applied to the event yet, and then does not find it.
        select
          deleted.new_person_id, deleted.occurred_at, deleted.event_id, deleted.new_identity_id,
          coalesce(event_type.merged_event_type_id, event_type.event_type_id),
          coalesce(item.merged_item_id, item.item_id),
          deleted.received_at, deleted.source_id, deleted.properties, deleted.client_at,
          case when event_type.merged_event_type_id is not null then event_type.event_type_id end,
          case when item.merged_item_id is not null then item.item_id end
        from deleted
        join track.event_type
          on event_type.event_type_id = coalesce(deleted.named_event_type_id, deleted.event_type_id)
        left join track.item on item.item_id = coalesce(deleted.named_item_id, deleted.item_id)
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id, date_trunc('month', occurred_at, 'UTC')
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id, date_trunc('month', occurred_at, 'UTC')
    $statement$
    using
      _move_events.identity_ids, _move_events.new_identity_ids, _move_events.old_people, _move_events.new_people,
      _move_events.since, _move_events.until, lower(v_period), upper(v_period);
  end loop;
end;
$$;

comment on function track._move_events(bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves the events of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length; a new identity may be the old one. Both people of each event are queued for the refresh
of sessions. Only the months are read that contain events of the old people.
$$;
--! EndIncluded track/identities/_move_events.sql

--! Included track/identities/_move_identities.sql
create or replace function track._move_identities(identity_ids bigint[], old_people bigint[], new_people bigint[])
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_touched bigint[];
begin
  insert into track.person (person_id, created_at)
  select distinct identity.identity_id, identity.created_at
  from unnest(_move_identities.new_people) as moved (person_id)
  join track.identity on identity.identity_id = moved.person_id
  on conflict (person_id) do nothing;

  update track.identity
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.new_people) as moved (identity_id, new_person_id)
  where identity.identity_id = moved.identity_id;

  perform track._move_events(
    _move_identities.identity_ids, _move_identities.identity_ids, _move_identities.old_people,
    _move_identities.new_people,
    array_fill('-infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)]),
    array_fill('infinity'::timestamptz, array[cardinality(_move_identities.identity_ids)])
  );

  with deleted as (
    delete from track.trait
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where trait.person_id = moved.old_person_id
      and trait.identity_id = moved.identity_id
    returning moved.new_person_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select new_person_id, identity_id, name, value, set_at
  from deleted;

  with deleted as (
    delete from track.enrolment
    using unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
      as moved (identity_id, old_person_id, new_person_id)
    where enrolment.person_id = moved.old_person_id
      and enrolment.identity_id = moved.identity_id
    returning moved.old_person_id, moved.new_person_id, enrolment.*
  ),

  placed as (
    insert into track.enrolment (person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id)
    select new_person_id, item_id, status, enrolled_at, ended_at, identity_id, named_item_id
    from deleted
  )

  select array_agg(old_person_id) || array_agg(new_person_id)
  into v_touched
  from deleted;
  perform track._enqueue('enrolment', array(select distinct person_id from unnest(v_touched) as person_id));

  update track.item_role
  set person_id = moved.new_person_id
  from unnest(_move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people)
    as moved (identity_id, old_person_id, new_person_id)
  where item_role.person_id = moved.old_person_id
    and item_role.identity_id = moved.identity_id;

  perform privacy.move_decisions(
    _move_identities.identity_ids, _move_identities.old_people, _move_identities.new_people
  );

  perform track._enqueue('identity', array(
    select distinct moved.person_id
    from unnest(_move_identities.old_people || _move_identities.new_people) as moved (person_id)
  ));

  delete from track.person
  where person.person_id = any (_move_identities.old_people)
    and not exists (select from track.identity where identity.person_id = person.person_id);
end;
$$;

comment on function track._move_identities(bigint[], bigint[], bigint[]) is $$
Moves identities and their data, each from its old person to its new one; the three lists have the same length.
The cost is proportional to the data of the old people. Months without events of them are neither read nor locked.
The caller has locked the people and the identities.
$$;
--! EndIncluded track/identities/_move_identities.sql

--! Included track/ingest/sender.sql
create or replace function track._sender(received_at timestamptz)
returns track.message_sender
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_levels constant text[] := array['anonymous', 'signed_in', 'server'];
  -- For a login that has not set a role, its own memberships apply.
  v_caller constant text := case current_setting('role') when 'none' then session_user else current_setting('role') end;
  v_key_hash constant text := nullif(current_setting('insights.write_key', true), '');
  v_name text := coalesce(nullif(current_setting('insights.source', true), ''), 'default');
  v_key track.open_write_key;
  v_sender track.message_sender;
begin
  v_sender.person := case
    when current_setting('role') in ('insights_learner', 'insights_instructor', 'insights_analyst')
      then nullif(current_setting('insights.person', true), '')
  end;
  v_sender.level := case
    when pg_has_role(v_caller, 'insights_worker', 'usage')
      or pg_has_role(v_caller, 'insights_admin', 'usage')
      or pg_has_role(v_caller, 'insights_owner', 'usage')
      then 'server'
    when v_sender.person is not null then 'signed_in'
    else 'anonymous'
  end;

  if v_key_hash is not null then
    v_key := track.open_write_key(v_key_hash, 'events', nullif(current_setting('insights.origin', true), ''));
    v_name := v_key.source;
    -- Only servers have a key of the level `server`. Other keys can be read by each visitor of a page: they add nothing
    -- to the rights of the sender.
    v_sender.level := case v_key.level
      when 'server' then 'server'
      else v_levels[
        least(array_position(v_levels, v_key.level), array_position(v_levels, v_sender.level))
      ]
    end;
    -- Once a day; another batch may be writing it.
    if (select write_key.used_on from track.write_key where write_key.key_id = v_key.key_id)
      is distinct from (_sender.received_at at time zone 'UTC')::date
    then
      update track.write_key
      set used_on = (_sender.received_at at time zone 'UTC')::date
      from (
        select write_key.key_id
        from track.write_key
        where write_key.key_id = v_key.key_id
        for no key update skip locked
      ) as free
      where write_key.key_id = free.key_id;
    end if;
  end if;

  v_sender.is_trusted := v_sender.level = 'server';
  v_sender.person := case v_sender.level when 'signed_in' then v_sender.person end;
  v_sender.source_id := track._source_id(v_name, v_sender.level);
  v_sender.browser := case
    when v_sender.level <> 'server' then nullif(current_setting('insights.browser', true), '')::uuid
  end;
  v_sender.opt_out := case
    when v_sender.level = 'server' then '{}'
    else string_to_array(coalesce(current_setting('insights.opt_out', true), ''), ',')
  end;
  select
    case
      when v_sender.is_trusted then setting.oldest_event
      else greatest(setting.oldest_event, _sender.received_at - setting.oldest_client_event)
    end,
    _sender.received_at + setting.newest_event,
    setting.longest_properties,
    setting.clock_tolerance,
    coalesce(source.path_rule, setting.path_rule),
    coalesce(source.kept_parameters, setting.kept_parameters)
  into
    v_sender.oldest, v_sender.newest, v_sender.longest_message, v_sender.clock_tolerance, v_sender.path_rule,
    v_sender.kept_parameters
  from track.setting
  join track.source on source.source_id = v_sender.source_id;
  return v_sender;
end;
$$;

comment on function track._sender(timestamptz) is $$
Returns the source, permissions and limits of the caller: those of its write key, or else those of its role.
Raises CF005 for a write key that may not be used.
$$;
--! EndIncluded track/ingest/sender.sql

--! Included track/ingest/withheld_messages.sql
create or replace function track._withheld_messages(messages track.parsed_message[], opt_out text[])
returns setof track.withheld_message
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with valid as materialized (
    select
      message.position, message.type, message.identity_kind, message.external_id, message.anonymous_id,
      message.previous_id, message.event_name, message.occurred_at, message.preferences, message.opts_out,
      message.is_claim,
      message.event_name is not distinct from 'Segment Consent Preference Updated' as is_decision
    from unnest(messages) as message
    where message.problem is null
  ),

  -- Names that the batch links to a user, each from the first message that does it. The past of a browser that belongs
  -- to a user stays with that user.
  tied as materialized (
    select distinct on (valid.external_id, tie.external_id, tie.identity_kind)
      valid.external_id as user_name, tie.external_id, tie.identity_kind,
      case when tie.external_id = valid.external_id and tie.identity_kind = 'user' then '-infinity'
        else valid.occurred_at
      end as since,
      valid.position + 1 as position,
      tie.identity_kind = 'user' or not exists (
        select
        from track.identity as browser
        where browser.external_id = tie.external_id
          and browser.kind = 'anonymous'
          and browser.user_identity_id is not null
      ) as has_past
    from valid
    cross join lateral (
      values
        (valid.external_id, 'user'),
        (case valid.type when 'identify' then valid.anonymous_id else valid.previous_id end, 'anonymous'),
        (case valid.type when 'alias' then valid.previous_id end, 'user')
    ) as tie (external_id, identity_kind)
    where valid.type in ('identify', 'alias')
      and valid.identity_kind = 'user'
      and valid.is_claim is not true
      and tie.external_id is not null
    order by valid.external_id, tie.external_id, tie.identity_kind, valid.occurred_at, valid.position
  ),

  -- People by name: `is_own` is false for the people of a browser whose id was sent without proof. Their refusals
  -- count, and a refusal in such a message counts for them; a grant does not. `browser_id` is set where the person
  -- depends on the time of the message.
  named as materialized (
    select
      name.external_id, name.identity_kind, identity.person_id, identity.kind = name.identity_kind as is_own,
      case
        when name.identity_kind = 'anonymous'
          and count(*) over (partition by name.external_id, name.identity_kind) > 1
          then identity.identity_id
      end as browser_id
    from (
      select valid.external_id, valid.identity_kind from valid
      union
      select tied.external_id, tied.identity_kind from tied
    ) as name
    join track.identity
      on identity.external_id = name.external_id
      and (
        identity.kind = name.identity_kind
        or identity.kind = 'anonymous' and name.identity_kind = 'unverified'
      )
  ),

  -- With the other names of their people.
  tied_name as materialized (
    select distinct on (known.user_name, known.external_id, known.identity_kind) known.*
    from (
      select tied.* from tied

      union all

      select tied.user_name, other.external_id, other.identity_kind, tied.since, tied.position, true
      from tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.browser_id is null
      join named as other
        on other.person_id = named.person_id
        and other.is_own
        and other.browser_id is null
      where tied.has_past
        and named.is_own
    ) as known (user_name, external_id, identity_kind, since, position, has_past)
    order by known.user_name, known.external_id, known.identity_kind, known.since, known.position
  ),

  -- Decisions of the batch, which apply from their time on, and the latest earlier one of each person.
  said as materialized (
    select
      valid.external_id, valid.identity_kind, preference.key as purpose, preference.value::boolean as granted,
      valid.occurred_at as decided_at, valid.position,
      case
        when valid.identity_kind = 'anonymous' then track._browser_identity(valid.external_id, valid.occurred_at)
      end as browser_id
    from valid
    cross join lateral jsonb_each(
      case jsonb_typeof(valid.preferences) when 'object' then valid.preferences end
    ) as preference
    where valid.is_decision
      and jsonb_typeof(preference.value) = 'boolean'
  ),

  recorded as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose, consent.granted, consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from (select distinct named.person_id from named) as person
    join privacy.consent on consent.person_id = person.person_id
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  ),

  decision as materialized (
    select
      named.external_id, named.identity_kind, named.browser_id, recorded.purpose, recorded.granted,
      recorded.decided_at, recorded.signalled_at, null::timestamptz as since, -1 as position
    from named
    join recorded using (person_id)
    where named.is_own or not recorded.granted

    union all

    -- Of a name that is new.
    select
      said.external_id, said.identity_kind, null, said.purpose, said.granted, said.decided_at, null, said.decided_at,
      said.position
    from said
    where not exists (
      select
      from named
      where named.external_id = said.external_id
        and named.identity_kind = said.identity_kind
        and named.is_own
    )

    union all

    -- Of a person, for all of her names.
    select
      other.external_id, other.identity_kind, other.browser_id, said.purpose, said.granted, said.decided_at, null,
      said.decided_at, said.position
    from said
    join named
      on named.external_id = said.external_id
      and named.identity_kind = said.identity_kind
      and (named.browser_id is null or named.browser_id = said.browser_id)
    join named as other on other.person_id = named.person_id
    where not said.granted
      or named.is_own and other.is_own and not (
        said.identity_kind = 'anonymous'
        and (select key.kind from track.identity as key where key.identity_id = named.person_id) = 'user'
      )

    union all

    -- Refusals of names that the batch links, under the name of the user: see `tied_to`.
    select
      tied.user_name, 'tied', null, said.purpose, false, said.decided_at, null,
      greatest(said.decided_at, tied.since),
      case
        when tied.since < said.decided_at then said.position
        when tied.since = said.decided_at then greatest(said.position, tied.position)
        else tied.position
      end
    from said
    join tied_name as tied
      on tied.external_id = said.external_id
      and tied.identity_kind = said.identity_kind
      and (tied.has_past or tied.since <= said.decided_at)
    where not said.granted

    union all

    (
      select distinct on (tied.user_name, recorded.purpose)
        tied.user_name, 'tied', null::bigint, recorded.purpose, false, recorded.decided_at, recorded.signalled_at,
        tied.since, tied.position
      from tied_name as tied
      join named
        on named.external_id = tied.external_id
        and named.identity_kind = tied.identity_kind
        and named.is_own
      join recorded using (person_id)
      where not recorded.granted
        and tied.has_past
      order by tied.user_name, recorded.purpose, recorded.decided_at desc
    )
  ),

  asked as materialized (
    select
      valid.position, valid.external_id, valid.identity_kind, valid.occurred_at, purpose.purpose, purpose.basis,
      purpose.without_basis,
      case jsonb_typeof(valid.preferences -> purpose.purpose)
        when 'boolean' then (valid.preferences ->> purpose.purpose)::boolean
      end as preference,
      purpose.opted_out_by_gpc and (valid.opts_out or 'gpc' = any (_withheld_messages.opt_out))
        or purpose.opted_out_by_dnt and 'dnt' = any (_withheld_messages.opt_out) as is_signalled,
      -- A sub-query that is hashed: a join would be a nested loop, since the planner cannot estimate the rows of an
      -- array.
      (valid.external_id, valid.identity_kind, purpose.purpose) in (
        select decision.external_id, decision.identity_kind, decision.purpose
        from decision
      ) as is_decided,
      -- Users to whom the batch has linked the name by then: as if each message had come alone.
      case
        when (valid.external_id, valid.identity_kind) in (
          select tied_name.external_id, tied_name.identity_kind from tied_name
        ) then (
          select array_agg(tied.user_name)
          from tied_name as tied
          where tied.external_id = valid.external_id
            and tied.identity_kind = valid.identity_kind
            and (tied.since, tied.position) <= (valid.occurred_at, valid.position)
        )
      end as tied_to
    from valid
    left join track.event_type as named on named.name = valid.event_name
    left join track.event_type
      on event_type.event_type_id = coalesce(named.merged_event_type_id, named.event_type_id)
    join privacy.purpose on purpose.purpose = coalesce(event_type.purpose, 'analytics')
    -- A decision itself needs no consent.
    where not valid.is_decision
  )

  -- In this order: a refusal of the person, a signal of the browser, the preference in the message, a grant of the
  -- person, the lawful basis.
  select asked.position, asked.purpose, asked.without_basis = 'refuse'
  from asked
  where case
    when asked.is_decided or asked.tied_to is not null then (
      select case
        when not latest.granted then true
        when asked.is_signalled then not coalesce(latest.granted and latest.is_after_signal, false)
        else not coalesce(asked.preference, latest.granted, asked.basis <> 'consent')
      end
      from (
        select
          (array_agg(decision.granted order by decision.decided_at desc, decision.position desc))[1] as granted,
          max(decision.decided_at) > max(decision.signalled_at) as is_after_signal
        from decision
        where (
            decision.external_id = asked.external_id and decision.identity_kind = asked.identity_kind
            or decision.external_id = any (asked.tied_to) and decision.identity_kind = 'tied'
          )
          and decision.purpose = asked.purpose
          and (decision.since is null or (decision.since, decision.position) <= (asked.occurred_at, asked.position))
          and (
            decision.browser_id is null
            or decision.browser_id = (select track._browser_identity(asked.external_id, asked.occurred_at))
          )
      ) as latest
    )
    else asked.is_signalled or not coalesce(asked.preference, asked.basis <> 'consent')
  end;
end;
$$;

comment on function track._withheld_messages(track.parsed_message[], text[]) is $$
Returns the valid messages that may not be stored with their person, because there is no consent to their purpose.
A refusal that was recorded before the batch applies to all of its messages, whatever time they give; a decision of
the batch applies to the messages from its time on. A refusal also applies to names that the batch links to the person.
`opt_out`: signals of the request, `gpc` and `dnt`.
$$;
--! EndIncluded track/ingest/withheld_messages.sql

--! Included track/messages/packed_keys.sql
/*
 * The place of a hash in track.packed_message. `hash` is `uuid_send` of the 128 bits. The first 32 bits determine the
 * node, bits 8 to 71 are the remainder, bits 72 to 87 the tag.
 */
create or replace function track._hash_start(hash bytea)
returns bigint
language sql
immutable
parallel safe
return (get_byte(hash, 0)::bigint << 24) | (get_byte(hash, 1) << 16) | (get_byte(hash, 2) << 8) | get_byte(hash, 3);

comment on function track._hash_start(bytea) is $$
Returns the first 32 bits of the hash of a message.
$$;

create or replace function track._packed_node(start bigint, depth int)
returns int
language sql
immutable
parallel safe
return (1 << depth) + (start >> (32 - depth))::int;

comment on function track._packed_node(bigint, int) is $$
Returns the key of the row of `track.packed_message` for hashes with the given first 32 bits.
$$;

create or replace function track._packed_tag(hash bytea)
returns smallint
language sql
immutable
parallel safe
-- From -32767, so that a tag less 1 is a smallint.
return greatest((get_byte(hash, 9) << 8 | get_byte(hash, 10)) - 32768, -32767)::smallint;

comment on function track._packed_tag(bytea) is $$
Returns the tag of the hash of a message: 16 bits.
$$;

create or replace function track._packed_remainder(hash bytea, source_id smallint)
returns bigint
language sql
immutable
parallel safe
return ('x' || encode(substr(hash, 2, 8), 'hex'))::bit(64)::bigint # (source_id::bigint & 65535);

comment on function track._packed_remainder(bytea, smallint) is $$
Returns the remainder of the hash of a message: 64 bits, of which the last 16 are combined with the source.
$$;
--! EndIncluded track/messages/packed_keys.sql

--! Included track/messages/packed_hashes.sql
create or replace function track._packed_hashes(hashes uuid[], source smallint, packing track.message_packing)
returns uuid[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- Planned once, and whatever the statistics say: one look-up by the key of the row per hash.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set enable_hashjoin to off
set enable_mergejoin to off
as $$
begin
  if packing.messages = 0 then
    return '{}';
  end if;
  return array(
    with sought as materialized (
      select
        keyed.hash,
        keyed.start,
        track._packed_tag(keyed.bytes) as tag,
        keyed.bytes
      from (
        select sent.hash, uuid_send(sent.hash) as bytes, track._hash_start(uuid_send(sent.hash)) as start
        from unnest(_packed_hashes.hashes) as sent (hash)
        -- In the order of the rows, so that neighbours are read together.
        order by sent.hash
      ) as keyed
    )

    select sought.hash
    from sought
    join track.packed_message as packed
      on packed.node = track._packed_node(
        sought.start, case when sought.start < packing.position then packing.next_depth else packing.depth end
      )
    -- The tags are in the row. The remainders, which are out of line, are read only for a hash whose tag is there.
    where case
      when packed.tags[width_bucket(sought.tag, packed.tags)] = sought.tag
        then track._packed_remainder(sought.bytes, _packed_hashes.source) = any (
          packed.remainders[
            width_bucket((sought.tag - 1::smallint)::smallint, packed.tags) + 1
            :width_bucket(sought.tag, packed.tags)
          ]
        )
    end
  );
end;
$$;

comment on function track._packed_hashes(uuid[], smallint, track.message_packing) is $$
Returns those of the hashes of a source that are in `track.packed_message`.
Of any hash that is not, in one of 200 cases, the remainders are read too.
$$;
--! EndIncluded track/messages/packed_hashes.sql

--! Included track/messages/merge_packed.sql
create or replace function track._merge_packed(
  sources smallint[],
  hashes uuid[],
  packing track.message_packing,
  until bigint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_splits constant boolean := packing.depth <> packing.next_depth;
begin
  if hashes is null and not v_splits then
    return;
  end if;

  with added as materialized (
    select
      track._hash_start(keyed.bytes) as start,
      track._packed_tag(keyed.bytes) as tag,
      track._packed_remainder(keyed.bytes, keyed.source_id) as remainder
    from (
      select uuid_send(hash) as bytes, source_id
      from unnest(sources, hashes) as taken (source_id, hash)
    ) as keyed
  ),

  stored as (
    select
      -- The first 8 bits are in the key of the row, the next 24 in the remainder.
      (((packed.node - (1 << packing.depth)) >> (packing.depth - 8))::bigint << 24)
        | (entry.remainder >> 40 & 16777215) as start,
      entry.tag,
      entry.remainder
    from track.packed_message as packed
    cross join unnest(packed.tags, packed.remainders) as entry (tag, remainder)
    where packed.node between track._packed_node(packing.position, packing.depth)
        and track._packed_node(until - 1, packing.depth)
      and (
        v_splits
        or packed.node in (select track._packed_node(added.start, packing.depth) from added)
      )
  ),

  merged as (
    select added.start, added.tag, added.remainder
    from added

    union

    select stored.start, stored.tag, stored.remainder
    from stored
    where stored.start >= packing.position
      and stored.start < until
  )

  insert into track.packed_message as packed (node, tags, remainders)
  select
    track._packed_node(merged.start, packing.next_depth),
    array_agg(merged.tag order by merged.tag, merged.remainder),
    array_agg(merged.remainder order by merged.tag, merged.remainder)
  from merged
  group by track._packed_node(merged.start, packing.next_depth)
  on conflict (node) do update
  set tags = excluded.tags, remainders = excluded.remainders;

  -- Rows of the former depth, all of whose hashes have moved.
  if v_splits then
    delete from track.packed_message as packed
    where packed.node between track._packed_node(packing.position, packing.depth)
      and track._packed_node(until, packing.depth) - 1;
  end if;
end;
$$;

comment on function track._merge_packed(smallint[], uuid[], track.message_packing, bigint) is $$
Adds hashes to rows of `track.packed_message`, and splits these rows when the depth grows.
The first 32 bits of the hashes are from `packing.position` up to, not including, `until`.
$$;
--! EndIncluded track/messages/merge_packed.sql

--! Included track/messages/pack_messages.sql
create or replace function track._shrink_messages()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The index is read, not the pages that the packed rows have left.
set enable_seqscan to off
set enable_bitmapscan to off
set lock_timeout to '200ms'
as $$
declare
  v_most constant int := 100000;
  v_left int;
  v_sources smallint[];
  v_hashes uuid[];
begin
  -- With a snapshot from before the lock, hashes that were inserted in between would be lost.
  if pg_total_relation_size('track.message') < 20e6
    or current_setting('transaction_isolation') not in ('read committed', 'read uncommitted')
  then
    return;
  end if;
  select count(*) into v_left
  from (
    select
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if v_left > v_most or pg_total_relation_size('track.message') < 20e6 + 400.0 * v_left then
    return;
  end if;

  lock table track.message in access exclusive mode;
  select array_agg(message.source_id), array_agg(message.message_hash)
  into v_sources, v_hashes
  from (
    select message.source_id, message.message_hash
    from track.message
    order by message.source_id, message.message_hash
    limit v_most + 1
  ) as message;
  if cardinality(v_hashes) > v_most then
    return;
  end if;
  truncate track.message;
  insert into track.message (source_id, message_hash)
  select source_id, message_hash
  from unnest(v_sources, v_hashes) as kept (source_id, message_hash);
exception
  -- The next call tries again.
  when lock_not_available then
    null;
end;
$$;

comment on function track._shrink_messages() is $$
Copies `track.message` to new files when nearly all of its rows have been packed, as after an upgrade or an import.
Until then its files keep their size. Holds an exclusive lock while it copies at most 100,000 rows.
$$;

create or replace function track.pack_messages(only_scheduled boolean default true)
returns int
language plpgsql
volatile
-- A definer: no role may write these tables.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_all constant bigint := 4294967296;
  v_cycle constant interval := '7 days';
  -- A row of more than about 200 hashes has its remainders out of line.
  v_largest_node constant int := 450;
  v_packing track.message_packing;
  v_all_sources smallint[];
  v_until bigint;
  v_sources smallint[];
  v_hashes uuid[];
  v_moved int;
begin
  -- One step at a time: a second session has nothing to do.
  select packing.* into v_packing
  from track.message_packing as packing
  for update skip locked;
  if not found then
    return null;
  end if;
  if only_scheduled
    and not v_packing.is_behind
    and v_packing.cycle_started_at + v_cycle * (v_packing.position::float8 / v_all) > now()
  then
    perform track._shrink_messages();
    return null;
  end if;
  v_all_sources := array(select source.source_id from track.source);

  -- A cycle begins with the size of the rows. Hashes are evenly distributed: a part is counted.
  if v_packing.position = 0 then
    select least(
      greatest(
        v_packing.depth,
        ceil(log(2, greatest(v_packing.messages + 256.0 * count(*), 1) / v_largest_node))
      ),
      29
    )
    into v_packing.next_depth
    from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash < '01000000-0000-0000-0000-000000000000';
    if v_packing.messages = 0 then
      v_packing.depth := v_packing.next_depth;
    end if;
  end if;
  -- From 1 to 32 rows: at least 256 steps in a cycle, each of a fraction of a second.
  v_until := v_packing.position
    + (v_all >> v_packing.next_depth) * least(greatest(1 << v_packing.next_depth >> 8, 1), 32);

  with taken as (
    delete from track.message
    where message.source_id = any (v_all_sources)
      and message.message_hash between (lpad(to_hex(v_packing.position), 8, '0') || repeat('0', 24))::uuid
        and (lpad(to_hex(v_until - 1), 8, '0') || repeat('f', 24))::uuid
    returning message.source_id, message.message_hash
  )
  select array_agg(taken.source_id), array_agg(taken.message_hash), count(*)
  into v_sources, v_hashes, v_moved
  from taken;

  perform track._merge_packed(v_sources, v_hashes, v_packing, v_until);

  update track.message_packing as packing
  set
    depth = case when v_until = v_all then v_packing.next_depth else v_packing.depth end,
    next_depth = v_packing.next_depth,
    position = v_until % v_all,
    step = packing.step + 1,
    messages = packing.messages + v_moved,
    is_behind = v_until < v_all
      and (
        v_packing.is_behind
        or v_moved * 10 >= v_packing.messages * ((v_until - v_packing.position)::float8 / v_all) + 100
      ),
    cycle_started_at = case when v_until = v_all then now() else packing.cycle_started_at end;
  return v_moved;
end;
$$;

comment on function track.pack_messages(boolean) is $$
@behavior -mutationField
Moves hashes of messages from `track.message` to `track.packed_message`: one step, of some thousand.
Steps go through all hashes in their order, within a week, and at once while much is new. A worker calls it until it
returns null. Returns the number of hashes that were moved; null when no step is scheduled, or while another session
runs one. `only_scheduled`: false runs a step in any case.
$$;

grant execute on function track.pack_messages(boolean) to insights_worker;
--! EndIncluded track/messages/pack_messages.sql

--! Included track/ingest/store_messages.sql
/*
 * A hash is in track.message while it is recent, and in track.packed_message later. track.pack_messages may move it
 * between two statements of this function, and increments `step` each time. If `step` is the same before the search
 * and after the insertion, nothing moved in between. Otherwise the inserted hashes are searched again: an insertion
 * without a conflict shows that the hash was no longer in track.message, so that a later statement finds it where it
 * was moved to.
 */
create or replace function track._store_messages(messages track.parsed_message[], source smallint)
returns track.parsed_message[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_packing track.message_packing;
  v_packing_after track.message_packing;
  v_hashes uuid[];
  v_packed uuid[];
  v_new uuid[];
begin
  -- A snapshot from before a move would contain the hash in neither table: in these transactions, the lock fails.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform packing.only_row
    from track.message_packing as packing
    for share;
  end if;

  v_hashes := array(
    select message.message_hash
    from unnest(messages) as message
    where message.problem is null
  );
  select packing.* into v_packing from track.message_packing as packing;
  v_packed := track._packed_hashes(v_hashes, _store_messages.source, v_packing);
  if v_packed <> '{}' then
    v_hashes := array(select unnest(v_hashes) except select unnest(v_packed));
  end if;

  -- Each message is stored once. Sorted, so that concurrent batches do not cause a deadlock.
  with stored as (
    insert into track.message (source_id, message_hash)
    select _store_messages.source, hash
    from unnest(v_hashes) as hash
    order by hash
    on conflict (source_id, message_hash) do nothing
    returning message_hash
  )
  select array_agg(stored.message_hash) into v_new from stored;

  while v_new is not null loop
    select packing.* into v_packing_after from track.message_packing as packing;
    exit when v_packing_after.step = v_packing.step;
    v_packing := v_packing_after;
    v_packed := track._packed_hashes(v_new, _store_messages.source, v_packing);
    if v_packed <> '{}' then
      delete from track.message
      where message.source_id = _store_messages.source
        and message.message_hash = any (v_packed);
      v_new := nullif(array(select unnest(v_new) except select unnest(v_packed)), '{}');
    end if;
  end loop;

  if v_new is null then
    return '{}';
  end if;
  if cardinality(v_new) = cardinality(messages) then
    return messages;
  end if;
  return array(
    select message
    from (
      select distinct on (message.message_hash) message
      from unnest(messages) as message
      join unnest(v_new) as new (message_hash) on new.message_hash = message.message_hash
      where message.problem is null
      order by message.message_hash, message.position
    ) as new
    order by (new.message).position
  );
end;
$$;

comment on function track._store_messages(track.parsed_message[], smallint) is $$
Stores the hashes of the valid messages, and returns the messages that were never stored before, each once.
$$;
--! EndIncluded track/ingest/store_messages.sql

--! Included track/ingest/describe_items.sql
create or replace function track._describe_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_said constant track.named_item[] := array(
    select row(
      item.item_id,
      (array_agg(message.item_kind order by message.position) filter (where message.item_kind is not null))[1],
      (array_agg(message.item_title order by message.position) filter (where message.item_title is not null))[1],
      (array_agg(parent.item_id order by message.position) filter (where parent.item_id is not null))[1],
      (array_agg(message.item_url order by message.position) filter (where message.item_url is not null))[1],
      null, null, null, null, null
    )::track.named_item
    from unnest(messages) as message
    join track.item on item.external_id = message.item
    left join track.item as parent
      on parent.external_id = message.item_parent
      and parent.external_id <> message.item
    group by item.item_id
  );
begin
  perform track._describe_names(v_said, false);

  -- Events set only columns without a value, so that values of the application's tables are kept.
  with said as (
    select
      given.item_id, given.kind, given.title, given.url,
      coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from unnest(v_said) as given
    left join track.item as parent on parent.item_id = given.parent_item_id
  )

  update track.item
  set
    kind = case when item.kind = 'unknown' then coalesce(said.kind, item.kind) else item.kind end,
    title = coalesce(item.title, said.title),
    url = coalesce(item.url, said.url),
    parent_item_id = coalesce(item.parent_item_id, nullif(said.parent_item_id, item.item_id)),
    updated_at = now()
  from said
  where item.item_id = said.item_id
    -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
    and num_nulls(item.merged_item_id) > 0
    and not exists (select from track.named_item where named_item.item_id = item.item_id)
    and (
      item.kind = 'unknown' and said.kind is not null
      or item.title is null and said.title is not null
      or item.url is null and said.url is not null
      or item.parent_item_id is null and said.parent_item_id <> item.item_id
    );
end;
$$;

comment on function track._describe_items(track.parsed_message[]) is $$
Stores attributes of items that messages contain, for columns without a value. Raises CF010 for a cycle of parents.
$$;

create or replace function track._describe_items_one_by_one(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_message track.parsed_message;
begin
  perform track._describe_items(array(
    select jsonb_populate_record(message, '{"item_parent": null}') from unnest(messages) as message
  ));
  for v_message in
    select distinct on (message.item) message.*
    from unnest(messages) as message
    where message.item_parent is not null
    order by message.item, message.position
  loop
    begin
      perform track._describe_items(array[v_message]);
    exception
      when sqlstate 'CF010' then null;
    end;
  end loop;
end;
$$;

comment on function track._describe_items_one_by_one(track.parsed_message[]) is $$
Does the same as `track._describe_items`, without the parents that would form a cycle.
$$;
--! EndIncluded track/ingest/describe_items.sql

--! Included track/ingest/enter_items.sql
create or replace function track._enter_items(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if not exists (
    select
    from unnest(messages) as message
    left join track.item on item.external_id = message.item
    left join track.named_item as named on named.item_id = item.item_id
    where message.item is not null
      and (
        item.item_id is null
        -- An item that an earlier version merged has no description of its own.
        or (item.merged_item_id is null or named.item_id is not null)
        and (
          case when named.item_id is null then item.kind else named.kind end = 'unknown'
          and message.item_kind is not null
          or case when named.item_id is null then item.title else named.title end is null
          and message.item_title is not null
          or case when named.item_id is null then item.url else named.url end is null
          and message.item_url is not null
          or case when named.item_id is null then item.parent_item_id else named.parent_item_id end is null
          and message.item_parent is not null
        )
      )
  ) then
    return;
  end if;

  insert into track.item (external_id)
  select external_id
  from (
    select message.item from unnest(messages) as message
    union
    select message.item_parent from unnest(messages) as message
  ) as named (external_id)
  where external_id is not null
    and not exists (select from track.item where item.external_id = named.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- Sorted, so that concurrent batches do not cause a deadlock.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from unnest(messages) as message
    join track.item as known on known.external_id = message.item
  ))
  order by item.item_id
  for no key update;

  begin
    perform track._describe_items(messages);
  exception
    when sqlstate 'CF010' then
      perform track._describe_items_one_by_one(messages);
  end;
end;
$$;

comment on function track._enter_items(track.parsed_message[]) is $$
Inserts the items that messages name for the first time, and stores their missing attributes.
$$;
--! EndIncluded track/ingest/enter_items.sql

--! Included track/ingest/store_events.sql
create or replace function track._store_events(
  messages track.parsed_message[],
  identities bigint[],
  people bigint[],
  source smallint
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with placed as materialized (
    select
      people[message.ordinality] as person_id, message.occurred_at, message.message_hash,
      identities[message.ordinality] as identity_id,
      coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
      coalesce(item.merged_item_id, item.item_id) as item_id, message.received_at, message.properties,
      message.client_at,
      case
        when message.client_at is not null then track._milliseconds_ahead(message.client_at, message.received_at)
      end as ahead,
      case when event_type.merged_event_type_id is not null then event_type.event_type_id end as named_event_type_id,
      case when item.merged_item_id is not null then item.item_id end as named_item_id
    from unnest(messages) with ordinality as message
    join track.event_type on event_type.name = message.event_name
    left join track.item on item.external_id = message.item
  ),

  stored as (
    insert into track.event (
      person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
      client_at, named_event_type_id, named_item_id
    )
    select
      placed.person_id,
      placed.occurred_at,
      track._event_id(placed.occurred_at, placed.message_hash, _store_events.source, placed.ahead),
      placed.identity_id,
      placed.event_type_id,
      placed.item_id,
      placed.received_at,
      _store_events.source,
      placed.properties,
      placed.client_at,
      placed.named_event_type_id,
      placed.named_item_id
    from placed
  )

  -- By month, so that an old and a new event of a batch do not queue the months between them.
  insert into track.stale (person_id, since, until)
  select placed.person_id, min(placed.occurred_at), max(placed.occurred_at)
  from placed
  group by placed.person_id, date_trunc('month', placed.occurred_at, 'UTC');
end;
$$;

comment on function track._store_events(track.parsed_message[], bigint[], bigint[], smallint) is $$
Stores the events of messages with their identities and people, and queues their people for the refresh of sessions.
$$;
--! EndIncluded track/ingest/store_events.sql

--! Included track/ingest/ingest.sql
/*
 * A definer: callers may write events only through this function, which checks each message.
 * Without just-in-time compilation, which would take seconds for statements that run for milliseconds.
 */
create or replace function track.ingest(batch jsonb)
returns track.ingest_result
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_batch constant track.message_batch := track._read_batch(ingest.batch);
  v_received_at constant timestamptz := clock_timestamp();
  v_sender constant track.message_sender := track._sender(v_received_at);
  v_messages track.parsed_message[];
  -- The messages with their people, when the request has an opt-out signal.
  v_signalled track.parsed_message[];
  v_locked bigint[];
  v_placed record;
  v_links boolean;
  v_traits boolean;
  v_decisions boolean;
  v_browsers boolean;
  v_result track.ingest_result;
begin
  v_messages := track._parse_messages(v_batch, v_received_at, v_sender);
  v_messages := track._verify_browsers(v_messages, v_sender);
  select
    bool_or(message.type in ('identify', 'alias')),
    bool_or(message.traits is not null),
    bool_or(message.event_name = 'Segment Consent Preference Updated'),
    bool_or(message.identity_kind = 'anonymous')
  into v_links, v_traits, v_decisions, v_browsers
  from unnest(v_messages) as message
  where message.problem is null;
  if v_links then
    v_messages := track._limit_identities(v_messages);
  end if;
  if v_sender.opt_out <> '{}' then
    v_signalled := v_messages;
  end if;
  v_messages := track._ask_consent(v_messages, v_sender.opt_out);
  v_result.errors := track._problems(v_messages);
  v_result.rejected := jsonb_array_length(v_result.errors);
  if v_result.rejected > 0 then
    perform track._count_refused(v_messages, v_batch.messages, v_sender.source_id, v_received_at);
  end if;

  v_result.duplicates := coalesce(cardinality(v_messages), 0) - v_result.rejected;
  v_messages := track._store_messages(v_messages, v_sender.source_id);
  v_result.accepted := cardinality(v_messages);
  v_result.duplicates := v_result.duplicates - v_result.accepted;
  if v_result.accepted = 0 and v_signalled is null then
    return v_result;
  end if;

  -- Months first: creating a partition waits for transactions that have inserted items or event types, so that this
  -- transaction must not have inserted any before.
  perform track._enter_months(v_messages);
  perform track._refuse_old_names();
  perform track._enter_people_of(v_messages, v_sender.browser);
  if v_signalled is not null then
    perform track._enter_people(array_agg('user'::text), array_agg(message.external_id))
    from unnest(v_signalled) as message
    where message.identity_kind = 'user'
      and message.problem is null;
  end if;
  perform track._enter_event_types(v_messages);
  perform track._enter_items(v_messages);

  v_locked := track._named_identities(v_messages || v_signalled);
  -- The persons of the identities must not change from here to the end of the transaction, or the rows below would be
  -- stored for a former person.
  if v_links then
    perform track._link_people_of(v_messages, v_locked);
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_locked)
    order by identity.identity_id
    for key share;
  end if;
  v_placed := track._place_messages(v_messages, v_browsers);

  perform track._store_events(v_messages, v_placed.identities, v_placed.people, v_sender.source_id);
  if v_traits then
    perform track._store_traits(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_decisions then
    perform track._store_consent(v_messages, v_placed.identities, v_placed.people);
  end if;
  if v_signalled is not null then
    perform track._store_signals(v_signalled, v_sender.opt_out, v_received_at);
  end if;
  return v_result;
end;
$$;

comment on function track.ingest(jsonb) is $$
Stores messages in Segment's format (`track`, `page`, `screen`, `identify`, `alias`, `group`).
A batch is a list, one message, or `{batch, sentAt, context}`; a JSON string with any of these is parsed.
Each `messageId` of a source is stored once, also by concurrent calls and at any later time. An invalid message is
rejected with an error of its own; the others are stored.
Items are created when first named. `properties` of trusted senders (`itemKind`, `itemTitle`, `parent`, `url`) are
stored where the item has no value yet; a parent that would form a cycle is ignored.
An event is never later than its arrival. The time of the client applies, unless its clock is behind by more than
`track.setting.clock_tolerance` or ahead: then the event is at `receivedAt - (sentAt - timestamp)`.
Learners may send their own events only, visitors only with an `anonymousId`, which is checked: see
`track.identity.browser`. A browser belongs to the user who identified on it last before the event, and before the
first `identify` to the first user. A write key (setting `insights.write_key`: its SHA-256 hash) decides the source and
its level. Refused messages are counted: see
`track.refused_messages`.
Errors of the whole batch: CF005 when the write key may not be used, CF009 when it is not a list of messages, CF008
when it has more than `track.setting.largest_batch` messages or its `context` is too long, CF001 when its `context`
contains a number beyond double precision.
$$;

grant execute on function track.ingest(jsonb)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/ingest/ingest.sql

--! Included track/names/_refuse_old_names.sql
create or replace function track._refuse_old_names()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A snapshot from before a change of names would store events under the former ones: the lock fails (40001).
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform setting.only_row from track.setting for share;
  end if;
end;
$$;

comment on function track._refuse_old_names() is $$
Raises 40001 in a transaction whose snapshot is from before a change of names.
$$;
--! EndIncluded track/names/_refuse_old_names.sql

--! Included track/names/_begin_naming.sql
create or replace function track._begin_naming()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('names cannot be changed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the events that others have stored until it has its locks.'
    );
  end if;
  -- Before the locks of tables: a step of track._apply_names holds it while it waits for these.
  perform pg_advisory_xact_lock(hashtext('track.name'));
  -- Waits for messages that create a month: they lock track.event before the other tables.
  perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
  -- In the order of track.ingest. These locks wait for the transactions that have stored events, and later ones wait
  -- here and then read the new names. So all events that must be moved are stored by now.
  lock table track.event_type in share row exclusive mode;
  lock table track.item in share row exclusive mode;
  lock table track.event in share mode;
  -- Fails transactions whose snapshot is older: see track._refuse_old_names.
  update track.setting set only_row = true;
end;
$$;

comment on function track._begin_naming() is $$
Begins a change of names: locks the tables against messages.
$$;
--! EndIncluded track/names/_begin_naming.sql

--! Included track/names/_queue_months.sql
create or replace function track._queue_months()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The neighbours too, because a partition may hold events near its boundaries.
  insert into track.renamed_month (month)
  select distinct (partition.month + shift.months * interval '1 month')::date
  from (
    select to_date(right(class.relname, 7), 'YYYY_MM') as month
    from pg_inherits
    join pg_class as class on class.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and class.relname ~ '^event_\d{4}_\d{2}$'
  ) as partition
  cross join generate_series(-1, 1) as shift (months)
  on conflict (month) do nothing;
end;
$$;

comment on function track._queue_months() is $$
Queues all months of events for `track._apply_names`.
$$;
--! EndIncluded track/names/_queue_months.sql

--! Included track/names/_apply_names.sql
create or replace function track._apply_names(most_events bigint, is_alone boolean default true)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_month date;
  v_found record;
  v_people bigint[] := '{}';
  v_times timestamptz[] := '{}';
  v_events uuid[] := '{}';
  v_types int[] := '{}';
  v_items bigint[] := '{}';
  v_identities bigint[] := '{}';
begin
  perform pg_advisory_xact_lock(hashtext('track.name'));
  while cardinality(v_events) < _apply_names.most_events loop
    select max(renamed_month.month) into v_month from track.renamed_month;
    exit when v_month is null;

    -- Planned for each execution, so that one partition is read.
    execute $statement$
      with named as (
        select
          event.person_id, event.occurred_at, event.event_id, event.identity_id, event.event_type_id, event.item_id,
          coalesce(event.named_event_type_id, event.event_type_id) as named_event_type_id,
          coalesce(event.named_item_id, event.item_id) as named_item_id
        from track.event
        where event.occurred_at >= $1
          and event.occurred_at < $2
          and (
            event.named_event_type_id is not null
            or event.named_item_id is not null
            or event.event_type_id = any ($3)
            or event.item_id = any ($4)
          )
      ),

      wrong as (
        select named.*
        from named
        join track.event_type on event_type.event_type_id = named.named_event_type_id
        left join track.item on item.item_id = named.named_item_id
        where named.event_type_id <> coalesce(event_type.merged_event_type_id, event_type.event_type_id)
          or named.item_id <> coalesce(item.merged_item_id, item.item_id)
        limit $5
      )

      select
        coalesce(array_agg(wrong.person_id), '{}') as people,
        coalesce(array_agg(wrong.occurred_at), '{}') as times,
        coalesce(array_agg(wrong.event_id), '{}') as events,
        coalesce(array_agg(wrong.named_event_type_id), '{}') as types,
        coalesce(array_agg(wrong.named_item_id), '{}') as items,
        coalesce(array_agg(distinct wrong.identity_id), '{}') as identities
      from wrong
    $statement$
    into v_found
    using
      v_month::timestamptz, (v_month + interval '1 month')::timestamptz,
      array(select event_type.event_type_id from track.event_type where event_type.merged_event_type_id is not null),
      array(select item.item_id from track.item where item.merged_item_id is not null),
      _apply_names.most_events - cardinality(v_events);
    v_people := v_people || v_found.people;
    v_times := v_times || v_found.times;
    v_events := v_events || v_found.events;
    v_types := v_types || v_found.types;
    v_items := v_items || v_found.items;
    v_identities := v_identities || v_found.identities;
    if cardinality(v_events) < _apply_names.most_events then
      delete from track.renamed_month where renamed_month.month = v_month;
    end if;
  end loop;
  if v_events = '{}' then
    return 0;
  end if;

  -- Others may move events to other people meanwhile, and then give them types and items by the new names. Their
  -- identities are locked once and in order, as in track.ingest, because rows of events would be locked in any order.
  if not _apply_names.is_alone then
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identities)
    order by identity.identity_id
    for key share;
  end if;

  execute $statement$
    with changed as (
      update track.event
      set
        event_type_id = coalesce(event_type.merged_event_type_id, event_type.event_type_id),
        item_id = coalesce(item.merged_item_id, item.item_id),
        named_event_type_id = case when event_type.merged_event_type_id is not null then event_type.event_type_id end,
        named_item_id = case when item.merged_item_id is not null then item.item_id end
      from unnest($1, $2, $3, $4, $5)
        as wrong (person_id, occurred_at, event_id, named_event_type_id, named_item_id)
      join track.event_type on event_type.event_type_id = wrong.named_event_type_id
      left join track.item on item.item_id = wrong.named_item_id
      where event.person_id = wrong.person_id
        and event.occurred_at = wrong.occurred_at
        and event.event_id = wrong.event_id
        and event.occurred_at >= $6
        and event.occurred_at <= $7
      returning event.person_id, event.occurred_at
    )

    insert into track.stale (person_id, since, until)
    select changed.person_id, min(changed.occurred_at), max(changed.occurred_at)
    from changed
    group by changed.person_id, date_trunc('month', changed.occurred_at, 'UTC')
  $statement$
  using
    v_people, v_times, v_events, v_types, v_items,
    (select min(occurred_at) from unnest(v_times) as occurred_at),
    (select max(occurred_at) from unnest(v_times) as occurred_at);
  return cardinality(v_events);
end;
$$;

comment on function track._apply_names(bigint, boolean) is $$
Gives at most `most_events` stored events the types and items of their names, and queues their people for the refresh.
Returns the number of events. 0: all events have them, and `track.renamed_month` is empty. It reads the months that are
queued there, the latest first. `is_alone`: the caller has locked `track.event` against writers.
$$;
--! EndIncluded track/names/_apply_names.sql

--! Included track/names/_log_name.sql
create or replace function track._log_name(action text, name text, target text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  insert into track.name_log (action, name, target, actor)
  values (
    _log_name.action,
    _log_name.name,
    _log_name.target,
    coalesce(nullif(current_setting('insights.person', true), ''), session_user)
  );
end;
$$;

comment on function track._log_name(text, text, text) is $$
Adds an entry to the log of names, with the caller.
$$;
--! EndIncluded track/names/_log_name.sql

--! Included track/names/_point_event_type.sql
create or replace function track._known_event_type(
  name text,
  hint text default 'Give the name of an event, as in track.event_type.'
)
returns track.event_type
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type track.event_type;
begin
  select event_type.* into v_type from track.event_type where event_type.name = _known_event_type.name;
  if v_type.event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', coalesce(left(_known_event_type.name, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _known_event_type.name, (select array_agg(event_type.name) from track.event_type)
        ) || '"? ',
        ''
      ) || _known_event_type.hint
    );
  end if;
  return v_type;
end;
$$;

comment on function track._known_event_type(text, text) is $$
Returns the event type of a name, also of a merged one. Raises CF002 with the nearest name for an unknown one.
$$;

create or replace function track._refuse_merged_event(event_type track.event_type)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if (event_type).name in (
    'Page Viewed', 'Screen Viewed', 'Heartbeat', 'Segment Consent Preference Updated', 'Other Event'
  ) then
    perform common.refuse(
      'CF001',
      format('the event "%s" cannot get another name', (event_type).name),
      'The collection itself uses this name. Other events can be merged into Page Viewed, Screen Viewed and Heartbeat.'
    );
  end if;
  if (event_type).merged_event_type_id is not null then
    perform common.refuse(
      'CF001',
      format('event "%s" was merged into another one', left((event_type).name, 100)),
      format(
        'Merge that one: "%s". Or undo the merge first, by track.unmerge_events.',
        (
          select left(known.name, 100)
          from track.event_type as known
          where known.event_type_id = (event_type).merged_event_type_id
        )
      )
    );
  end if;
end;
$$;

comment on function track._refuse_merged_event(track.event_type) is $$
Raises CF001 for an event that cannot be merged: its name is used by the collection, or it is merged already.
$$;

create or replace function track._point_event_type(event_type_id int, target_id int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update track.event_type
  set target_event_type_id = _point_event_type.target_id
  where event_type.event_type_id = _point_event_type.event_type_id;

  with recursive
  target as (
    select coalesce(
      (
        select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
        from track.event_type
        where event_type.event_type_id = _point_event_type.target_id
      ),
      _point_event_type.event_type_id
    ) as event_type_id
  ),

  member as (
    select _point_event_type.event_type_id

    union

    select event_type.event_type_id
    from member
    join track.event_type on event_type.target_event_type_id = member.event_type_id
  )

  update track.event_type
  set merged_event_type_id = nullif(target.event_type_id, event_type.event_type_id)
  from member
  cross join target
  where event_type.event_type_id = member.event_type_id;
  perform track._queue_months();
end;
$$;

comment on function track._point_event_type(int, int) is $$
Makes an event type, with the names that were merged into it, a name of a target; null: of itself again.
The caller has called `track._begin_naming`, and refused cycles.
$$;
--! EndIncluded track/names/_point_event_type.sql

--! Included track/names/merge_events.sql
create or replace function track.merge_events(name text, target text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_type track.event_type;
  v_target track.event_type;
begin
  perform common.check_count('most_events', merge_events.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_type := track._known_event_type(merge_events.name);
  v_target := track._known_event_type(
    merge_events.target, 'To give an event a name that is new, use track.rename_event.'
  );
  -- A repeated call continues with the events.
  if v_type.target_event_type_id = v_target.event_type_id then
    return track._apply_names(merge_events.most_events);
  end if;
  if v_type.event_type_id = coalesce(v_target.merged_event_type_id, v_target.event_type_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same event', left(merge_events.name, 100), left(merge_events.target, 100)),
      'Give two different events.'
    );
  end if;
  perform track._refuse_merged_event(v_type);
  if v_target.name in ('Segment Consent Preference Updated', 'Other Event') then
    perform common.refuse(
      'CF001',
      format('no event can be merged into "%s"', v_target.name),
      'The collection itself uses this name, for messages that it recognizes by their name.'
    );
  end if;
  select known.* into v_target
  from track.event_type as known
  where known.event_type_id = coalesce(v_target.merged_event_type_id, v_target.event_type_id);
  if v_type.purpose <> v_target.purpose then
    perform common.refuse(
      'CF001',
      format(
        'event "%s" has the purpose "%s", and "%s" the purpose "%s"',
        left(v_type.name, 100), v_type.purpose, left(v_target.name, 100), v_target.purpose
      ),
      'Give both the same purpose first (track.event_type.purpose): people have agreed to the purpose of each event.'
    );
  end if;

  perform track._point_event_type(
    v_type.event_type_id,
    (select known.event_type_id from track.event_type as known where known.name = merge_events.target)
  );
  perform track._log_name('event merged', merge_events.name, merge_events.target);
  return track._apply_names(merge_events.most_events);
end;
$$;

comment on function track.merge_events(text, text, int) is $$
Makes the event `name` a further name of the event `target`: its stored events and later messages become events of it.
Returns the number of stored events that this call changed, at most `most_events`. The others follow with the next calls
of `track.refresh` or of this function, which returns 0 when there are none left. Until then an event counts under one
of the two names. 0 leaves all of them to the refresh.
The properties of the target apply to all of these events: whether they open a page view, are heartbeats or automatic.
Both must have the same purpose. `target` may be a merged event: it then means what that one means, also after this is
undone for that one. Derived data follow with the next `track.refresh`.
Messages wait while the call runs: it reads the months of `track.event`, the latest first, until `most_events` are
changed. It fails (55P03) when it waits for others for more than 5 seconds. `track.unmerge_events` undoes it.
Errors: CF002 for an unknown event, CF001 for two names of the same event, for an event that was merged into another,
for names that the collection itself uses, for different purposes and for a negative `most_events`.
$$;

grant execute on function track.merge_events(text, text, int) to insights_admin;
--! EndIncluded track/names/merge_events.sql

--! Included track/names/rename_event.sql
create or replace function track.rename_event(name text, new_name text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_type track.event_type;
  v_known track.event_type;
  v_new_id int;
begin
  perform common.check_count('most_events', rename_event.most_events, 0, 2147483647);
  if coalesce(rename_event.new_name, '') = '' then
    perform common.refuse(
      'CF001',
      format('new_name is %s', case rename_event.new_name when '' then 'empty' else 'null' end),
      'Give the new name of the event.'
    );
  end if;
  if length(rename_event.new_name) > 200 then
    perform common.refuse('CF008', format('new_name has %s characters', length(rename_event.new_name)),
      'The name of an event has 200 at most.');
  end if;
  perform track._begin_naming();
  v_type := track._known_event_type(rename_event.name);
  select known.* into v_known from track.event_type as known where known.name = rename_event.new_name;
  -- A repeated call continues with the events.
  if v_known.former_event_type_id = v_type.event_type_id
    and v_type.target_event_type_id = v_known.event_type_id
  then
    return track._apply_names(rename_event.most_events);
  end if;
  if v_known.event_type_id is not null then
    perform common.refuse(
      'CF001',
      format('there is an event "%s"', left(rename_event.new_name, 100)),
      case
        when v_known.target_event_type_id = v_type.event_type_id
          then 'It was merged into this one: to undo that, use track.unmerge_events.'
        else 'Merge the two: track.merge_events.'
      end
    );
  end if;
  perform track._refuse_merged_event(v_type);

  insert into track.event_type (
    name, purpose, opens_view, is_heartbeat, description, is_automatic, former_event_type_id
  )
  values (
    rename_event.new_name, v_type.purpose, v_type.opens_view, v_type.is_heartbeat, v_type.description,
    v_type.is_automatic, v_type.event_type_id
  )
  returning event_type.event_type_id into v_new_id;
  perform track._point_event_type(v_type.event_type_id, v_new_id);
  perform track._log_name('event renamed', rename_event.name, rename_event.new_name);
  return track._apply_names(rename_event.most_events);
end;
$$;

comment on function track.rename_event(text, text, int) is $$
Renames the event `name`. Messages with the old name and with the new one belong to the same event afterwards.
A new event type gets the new name and the properties of the old one, which is merged into it: see
`track.merge_events`, also for `most_events` and the result. Settings of the old name, such as those of
`recommend.event_weight`, apply to the new one. `track.unmerge_events(name)` undoes it: events that were sent with the
old name get it back, and those that were sent with the new name keep that.
Errors: CF002 for an unknown event, CF001 for a new name that exists or is empty, for an event that was merged into
another, for names that the collection itself uses and for a negative `most_events`, CF008 for a name of more than 200
characters.
$$;

grant execute on function track.rename_event(text, text, int) to insights_admin;
--! EndIncluded track/names/rename_event.sql

--! Included track/names/unmerge_events.sql
create or replace function track.unmerge_events(name text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_type track.event_type;
  v_names text;
begin
  perform common.check_count('most_events', unmerge_events.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_type := track._known_event_type(unmerge_events.name);
  if v_type.target_event_type_id is null then
    select string_agg(format('"%s"', left(known.name, 100)), ', ' order by known.name)
    into v_names
    from (
      select merged.name
      from track.event_type as merged
      where merged.target_event_type_id = v_type.event_type_id
      order by merged.name
      limit 10
    ) as known;
    perform common.refuse(
      'CF001',
      format('event "%s" is not merged', left(unmerge_events.name, 100)),
      coalesce(
        'Give a name that was merged into it: ' || v_names || '.',
        'No event was merged into it either. The log of changed names is track.name_log.'
      )
    );
  end if;
  perform track._log_name('event unmerged', unmerge_events.name, (
    select target.name
    from track.event_type as target
    where target.event_type_id = v_type.target_event_type_id
  ));
  perform track._point_event_type(v_type.event_type_id, null);
  return track._apply_names(unmerge_events.most_events);
end;
$$;

comment on function track.unmerge_events(text, int) is $$
Undoes `track.merge_events` or `track.rename_event` of the event `name`.
Every event that was sent with this name gets it back, also those that were sent after the merge, with the names that
were merged into it. Merges can be undone in any order. The type has the purpose and the other properties that it had.
Returns the number of stored events that this call changed, at most `most_events`; the others follow with the next calls
of `track.refresh`. Messages wait while it runs, as with `track.merge_events`.
Errors: CF002 for an unknown event, CF001 for one that is not merged and for a negative `most_events`.
$$;

grant execute on function track.unmerge_events(text, int) to insights_admin;
--! EndIncluded track/names/unmerge_events.sql

--! Included track/items/_known_item.sql
create or replace function track._known_item(
  external_id text,
  hint text default 'Give the external id of an item, as in track.item.'
)
returns track.item
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item track.item;
begin
  select item.* into v_item from track.item where item.external_id = _known_item.external_id;
  if v_item.item_id is null then
    perform common.refuse(
      'CF002',
      format('there is no item "%s"', coalesce(left(_known_item.external_id, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _known_item.external_id,
          array(
            select item.external_id
            from track.item
            where left(item.external_id, 2) = left(_known_item.external_id, 2)
            order by item.external_id
            limit 1000
          )
        ) || '"? ',
        ''
      ) || _known_item.hint
    );
  end if;
  return v_item;
end;
$$;

comment on function track._known_item(text, text) is $$
Returns the item of an external id, also of a merged one. Raises CF002 with the nearest name for an unknown one.
$$;

create or replace function track._refuse_merged_item(item track.item)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if (item).merged_item_id is not null then
    perform common.refuse(
      'CF001',
      format('item "%s" was merged into another one', left((item).external_id, 100)),
      format(
        'Merge that one: "%s". Or undo the merge first, by track.unmerge_item.',
        (
          select left(known.external_id, 100)
          from track.item as known
          where known.item_id = (_refuse_merged_item.item).merged_item_id
        )
      )
    );
  end if;
end;
$$;

comment on function track._refuse_merged_item(track.item) is $$
Raises CF001 for an item that was merged into another one.
$$;
--! EndIncluded track/items/_known_item.sql

--! Included track/items/_describe_merged.sql
create or replace function track._describe_merged(item_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_members constant bigint[] := array(
    select member.item_id
    from track.item as given
    join track.item as member
      on coalesce(given.merged_item_id, given.item_id) in (member.item_id, member.merged_item_id)
    where given.item_id = any (_describe_merged.item_ids)
    group by member.item_id
  );
  v_children bigint[];
  v_item_id bigint;
  v_parent_id bigint;
begin
  -- The first value counts: that of the item's own name, then those of its other names in the order of their keys.
  with said as (
    select
      coalesce(item.merged_item_id, item.item_id) as root_item_id,
      item.merged_item_id is not null as is_merged,
      named_item.*
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    where item.item_id = any (v_members)
  ),

  summed as (
    select
      said.root_item_id as item_id,
      coalesce(
        (array_agg(said.kind order by said.is_merged, said.item_id) filter (where said.kind <> 'unknown'))[1], 'unknown'
      ) as kind,
      (array_agg(said.title order by said.is_merged, said.item_id) filter (where said.title is not null))[1] as title,
      (array_agg(said.url order by said.is_merged, said.item_id) filter (where said.url is not null))[1] as url,
      (array_agg(said.language order by said.is_merged, said.item_id) filter (where said.language is not null))[1]
        as language,
      (
        array_agg(said.available_from order by said.is_merged, said.item_id)
        filter (where said.available_from is not null)
      )[1] as available_from,
      (
        array_agg(said.available_until order by said.is_merged, said.item_id)
        filter (where said.available_until is not null)
      )[1] as available_until,
      (array_agg(said.due_at order by said.is_merged, said.item_id) filter (where said.due_at is not null))[1] as due_at
    from said
    group by said.root_item_id
  ),

  attributed as (
    select
      said.root_item_id as item_id,
      -- Of several values of a key, the last one stays.
      jsonb_object_agg(attribute.key, attribute.value order by said.is_merged desc, said.item_id desc) as attributes
    from said
    cross join jsonb_each(said.attributes) as attribute
    group by said.root_item_id
  ),

  described as (
    select
      summed.item_id, summed.kind, summed.title, summed.url, summed.language,
      coalesce(attributed.attributes, '{}') as attributes, summed.available_from, summed.available_until, summed.due_at
    from summed
    left join attributed on attributed.item_id = summed.item_id

    union all

    select
      said.item_id, 'merged', said.title, said.url, said.language, said.attributes, said.available_from,
      said.available_until, said.due_at
    from said
    where said.is_merged
  )

  update track.item
  set
    kind = described.kind,
    title = described.title,
    url = described.url,
    language = described.language,
    attributes = described.attributes,
    available_from = described.available_from,
    available_until = described.available_until,
    due_at = described.due_at,
    parent_item_id = case described.kind when 'merged' then null else item.parent_item_id end,
    updated_at = now()
  from described
  where item.item_id = described.item_id
    and (
      item.kind, item.title, item.url, item.language, item.attributes, item.available_from, item.available_until,
      item.due_at
    ) is distinct from (
      described.kind, described.title, described.url, described.language, described.attributes,
      described.available_from, described.available_until, described.due_at
    );

  -- The tree: an item that several names give a parent is in that of its own name, if this is another item, or else in
  -- that of the next name. Items of which a container was merged into a part of theirs would form a cycle: the part
  -- is not in itself. For the same tree in any order of the merges, all of these items are placed in one order.
  v_children := array(
    select placed.item_id
    from (
      select distinct root.item_id
      from track.named_item
      join track.item on item.item_id = named_item.item_id
      join track.item as root on root.item_id = coalesce(item.merged_item_id, item.item_id)
      where root.item_id = any (v_members)
        or named_item.parent_item_id = any (v_members)
        -- Those that had no parent because of a cycle.
        or root.parent_item_id is null and named_item.parent_item_id is not null
    ) as placed
    order by exists (select from track.item as merged where merged.merged_item_id = placed.item_id), placed.item_id
  );
  if not exists (
    select
    from track.item
    where item.item_id = any (v_children)
      and item.parent_item_id is distinct from (track._parents_named(item.item_id))[1]
  ) then
    return;
  end if;
  update track.item
  set parent_item_id = null
  where item.item_id = any (v_children)
    and item.parent_item_id is not null;
  foreach v_item_id in array v_children loop
    select parent.item_id into v_parent_id
    from unnest(track._parents_named(v_item_id)) with ordinality as parent (item_id, place)
    where not exists (
      select
      from track.item_ancestor
      where item_ancestor.item_id = parent.item_id
        and item_ancestor.ancestor_item_id = v_item_id
    )
    order by parent.place
    limit 1;
    update track.item
    set parent_item_id = v_parent_id, updated_at = now()
    where item.item_id = v_item_id
      and v_parent_id is not null;
  end loop;
end;
$$;

comment on function track._describe_merged(bigint[]) is $$
Computes the columns and parents of merged items, of their targets and of the parts of these, for the given items.
From `track.named_item`, so that the result depends on what was said under each name and on the merges, and not on their
order.
$$;

create or replace function track._parents_named(item_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select coalesce(parent.merged_item_id, parent.item_id)
    from track.item
    join track.named_item on named_item.item_id = item.item_id
    join track.item as parent on parent.item_id = named_item.parent_item_id
    where _parents_named.item_id in (item.item_id, item.merged_item_id)
      and coalesce(parent.merged_item_id, parent.item_id) <> _parents_named.item_id
    order by item.merged_item_id is not null, item.item_id
  );
end;
$$;

comment on function track._parents_named(bigint) is $$
Returns the parents of an item by its own name and by the names that were merged into it, in the order of precedence.
$$;
--! EndIncluded track/items/_describe_merged.sql

--! Included track/items/_describe_names.sql
create or replace function track._describe_names(said track.named_item[], replaces boolean)
returns bigint[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names bigint[];
  v_changed bigint[];
begin
  -- As a rule, no item is merged.
  if not exists (select from track.item where item.merged_item_id is not null) then
    return '{}';
  end if;

  -- Items of a merge, and items whose parent is merged.
  insert into track.named_item
  select
    item.item_id, item.kind, item.title, item.parent_item_id, item.url, item.language, item.attributes,
    item.available_from, item.available_until, item.due_at
  from unnest(_describe_names.said) as given
  join track.item on item.item_id = given.item_id
  join track.item as parent on parent.item_id = given.parent_item_id
  where parent.merged_item_id is not null
    and (_describe_names.replaces or item.parent_item_id is null)
  on conflict (item_id) do nothing;
  v_names := array(
    select named_item.item_id
    from unnest(_describe_names.said) as given
    join track.named_item on named_item.item_id = given.item_id
  );
  if v_names = '{}' then
    return '{}';
  end if;

  with described as (
    select
      named_item.item_id,
      case
        when _describe_names.replaces or named_item.kind = 'unknown' then coalesce(given.kind, named_item.kind)
        else named_item.kind
      end as kind,
      said.title, said.parent_item_id, said.url, said.language, said.attributes, said.available_from,
      said.available_until, said.due_at
    from unnest(_describe_names.said) as given
    join track.named_item on named_item.item_id = given.item_id
    -- A value of the application's tables replaces the stored one; one of a message is kept where there is none.
    cross join lateral (
      select
        coalesce(preferred.title, other.title), coalesce(preferred.parent_item_id, other.parent_item_id),
        coalesce(preferred.url, other.url), coalesce(preferred.language, other.language),
        coalesce(preferred.attributes, other.attributes), coalesce(preferred.available_from, other.available_from),
        coalesce(preferred.available_until, other.available_until), coalesce(preferred.due_at, other.due_at)
      from (
        select (case when _describe_names.replaces then given else named_item end).*
      ) as preferred
      cross join (
        select (case when _describe_names.replaces then named_item else given end).*
      ) as other
    ) as said (
      title, parent_item_id, url, language, attributes, available_from, available_until, due_at
    )
  ),

  changed as (
    update track.named_item
    set
      kind = described.kind,
      title = described.title,
      parent_item_id = nullif(described.parent_item_id, described.item_id),
      url = described.url,
      language = described.language,
      attributes = described.attributes,
      available_from = described.available_from,
      available_until = described.available_until,
      due_at = described.due_at
    from described
    where named_item.item_id = described.item_id
      and (
        named_item.kind, named_item.title, named_item.parent_item_id, named_item.url, named_item.language,
        named_item.attributes, named_item.available_from, named_item.available_until, named_item.due_at
      ) is distinct from (
        described.kind, described.title, nullif(described.parent_item_id, described.item_id), described.url,
        described.language, described.attributes, described.available_from, described.available_until, described.due_at
      )
    returning named_item.item_id
  )

  select array_agg(changed.item_id) into v_changed from changed;
  perform track._describe_merged(v_changed);
  return coalesce(v_changed, '{}');
end;
$$;

comment on function track._describe_names(track.named_item[], boolean) is $$
Stores what is said of items of a merge, and of items whose parent is merged, under the names that it was said of.
The parents are those that were named. `replaces`: the values replace the stored ones, or else are kept where there is
none. Returns the items that changed. All other items are left to the caller: those without a row in `track.named_item`.
$$;
--! EndIncluded track/items/_describe_names.sql

--! Included track/items/_name_enrolments.sql
create or replace function track._name_enrolments(item_ids bigint[], identity_ids bigint[] default null)
returns setof bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with named as (
    update track.enrolment
    set item_id = enrolment.named_item_id, named_item_id = null
    where enrolment.named_item_id = any (_name_enrolments.item_ids)
      and (_name_enrolments.identity_ids is null or enrolment.identity_id = any (_name_enrolments.identity_ids))
    returning enrolment.person_id
  )
  select named.person_id from named;
end;
$$;

comment on function track._name_enrolments(bigint[], bigint[]) is $$
Gives the enrolments of merged items the items that the application named. Returns their people.
`item_ids`: all names of the items; `identity_ids`: of these identities only.
$$;
--! EndIncluded track/items/_name_enrolments.sql

--! Included track/items/_merge_enrolments.sql
create or replace function track._merge_enrolments(item_ids bigint[], identity_ids bigint[] default null)
returns setof bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with named as (
    select distinct on (enrolment.person_id, enrolment.identity_id, item.merged_item_id)
      enrolment.person_id, enrolment.identity_id, enrolment.item_id, item.merged_item_id
    from track.enrolment
    join track.item on item.item_id = enrolment.item_id
    where enrolment.item_id = any (_merge_enrolments.item_ids)
      and (_merge_enrolments.identity_ids is null or enrolment.identity_id = any (_merge_enrolments.identity_ids))
      and item.merged_item_id is not null
    order by
      enrolment.person_id, enrolment.identity_id, item.merged_item_id, enrolment.enrolled_at desc, enrolment.item_id
  ),

  merged as (
    update track.enrolment
    set item_id = named.merged_item_id, named_item_id = named.item_id
    from named
    where enrolment.person_id = named.person_id
      and enrolment.identity_id = named.identity_id
      and enrolment.item_id = named.item_id
      and not exists (
        select
        from track.enrolment as own
        where own.person_id = named.person_id
          and own.identity_id = named.identity_id
          and own.item_id = named.merged_item_id
      )
    returning enrolment.person_id
  )
  select merged.person_id from merged;
end;
$$;

comment on function track._merge_enrolments(bigint[], bigint[]) is $$
Gives the enrolments of merged items the items of which these are names, after `track._name_enrolments`.
Of several of an identity, the one of the item's own name counts, or else the latest one. Returns their people.
$$;
--! EndIncluded track/items/_merge_enrolments.sql

--! Included track/items/_point_items.sql
create or replace function track._point_items(item_ids bigint[], target_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- All names of the items and of their targets, before and after.
  v_members constant bigint[] := array(
    select distinct member.item_id
    from unnest(_point_items.item_ids || _point_items.target_ids) as given (item_id)
    join track.item on item.item_id = given.item_id
    join track.item as member
      on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
  );
begin
  -- The descriptions by name.
  insert into track.named_item
  select
    item.item_id, case item.kind when 'merged' then 'unknown' else item.kind end, item.title, item.parent_item_id,
    item.url, item.language, item.attributes, item.available_from, item.available_until, item.due_at
  from track.item
  where item.item_id = any (v_members)
    or item.parent_item_id = any (v_members)
  on conflict (item_id) do nothing;
  insert into track.named_prerequisite (item_id, required_item_id)
  select prerequisite.item_id, prerequisite.required_item_id
  from track.prerequisite
  where (prerequisite.item_id = any (v_members) or prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.named_prerequisite as named
      join track.item on item.item_id = named.item_id
      join track.item as required on required.item_id = named.required_item_id
      where coalesce(item.merged_item_id, item.item_id) = prerequisite.item_id
        and coalesce(required.merged_item_id, required.item_id) = prerequisite.required_item_id
    );

  update track.item
  set target_item_id = pair.target_id
  from unnest(_point_items.item_ids, _point_items.target_ids) as pair (item_id, target_id)
  where item.item_id = pair.item_id;
  with recursive member as (
    select item.item_id, item.item_id as root_item_id
    from track.item
    where item.item_id = any (v_members)
      and item.target_item_id is null

    union all

    select item.item_id, member.root_item_id
    from member
    join track.item on item.target_item_id = member.item_id
  )

  update track.item
  set merged_item_id = nullif(member.root_item_id, item.item_id), updated_at = now()
  from member
  where item.item_id = member.item_id
    and item.merged_item_id is distinct from nullif(member.root_item_id, item.item_id);

  perform track._queue_months();
  perform track._describe_merged(v_members);

  delete from track.prerequisite
  where prerequisite.item_id = any (v_members)
    or prerequisite.required_item_id = any (v_members);
  insert into track.prerequisite (item_id, required_item_id)
  select distinct
    coalesce(item.merged_item_id, item.item_id), coalesce(required.merged_item_id, required.item_id)
  from track.named_prerequisite as named
  join track.item on item.item_id = named.item_id
  join track.item as required on required.item_id = named.required_item_id
  where (named.item_id = any (v_members) or named.required_item_id = any (v_members))
    and coalesce(item.merged_item_id, item.item_id) <> coalesce(required.merged_item_id, required.item_id)
  on conflict (item_id, required_item_id) do nothing;

  perform track._enqueue('enrolment', array(
    select track._name_enrolments(v_members)
    union
    select track._merge_enrolments(v_members)
  ));

  -- Items that are neither merged nor a target, and whose parent is not merged, are as they were named.
  delete from track.named_item
  using track.item
  where item.item_id = named_item.item_id
    and (item.item_id = any (v_members) or named_item.parent_item_id = any (v_members))
    and item.merged_item_id is null
    and item.parent_item_id is not distinct from named_item.parent_item_id
    and not exists (select from track.item as merged where merged.merged_item_id = item.item_id);
  delete from track.named_prerequisite
  where (named_prerequisite.item_id = any (v_members) or named_prerequisite.required_item_id = any (v_members))
    and not exists (
      select
      from track.item
      where named_prerequisite.item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    )
    and not exists (
      select
      from track.item
      where named_prerequisite.required_item_id in (item.item_id, item.merged_item_id)
        and item.merged_item_id is not null
    );
end;
$$;

comment on function track._point_items(bigint[], bigint[]) is $$
Makes items, with the names that were merged into them, names of their targets; null: of themselves again.
Moves their parts, prerequisites and enrolments, and fills the columns of the targets that have no value. The caller has
called `track._begin_naming`, and refused cycles; `track._apply_names` moves the events.
$$;
--! EndIncluded track/items/_point_items.sql

--! Included track/items/merge_items.sql
create or replace function track.merge_items(item text, target text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_item track.item;
  v_target track.item;
begin
  perform common.check_count('most_events', merge_items.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_item := track._known_item(merge_items.item);
  v_target := track._known_item(
    merge_items.target, 'To give an item an id that is new, use track.rename_item.'
  );
  -- A repeated call continues with the events.
  if v_item.target_item_id = v_target.item_id then
    return track._apply_names(merge_items.most_events);
  end if;
  if v_item.item_id = coalesce(v_target.merged_item_id, v_target.item_id) then
    perform common.refuse(
      'CF001',
      format('"%s" and "%s" are the same item', left(merge_items.item, 100), left(merge_items.target, 100)),
      'Give two different items.'
    );
  end if;
  perform track._refuse_merged_item(v_item);

  perform track._point_items(array[v_item.item_id], array[v_target.item_id]);
  perform track._log_name('item merged', merge_items.item, merge_items.target);
  return track._apply_names(merge_items.most_events);
end;
$$;

comment on function track.merge_items(text, text, int) is $$
Merges `item` into `target`.
Its events, parts, prerequisites, roles and enrolments become those of `target`, and later messages with its name too.
Columns of `target` that have no value get those of `item`, whose row stays, with the kind `merged`. `target` may be a
merged item: it then means what that one means, also after this is undone for that one.
Returns the number of stored events that this call changed, at most `most_events`. The others follow with the next calls
of `track.refresh` or of this function, which returns 0 when there are none left. Until then an event counts for one of
the two items. 0 leaves all of them to the refresh. Derived data follow with the next `track.refresh`, and models with
their next training.
Messages wait while the call runs: it reads the months of `track.event`, the latest first, until `most_events` are
changed. It fails (55P03) when it waits for others for more than 5 seconds. `track.unmerge_item` undoes it.
Errors: CF002 for an unknown item, CF001 for two names of the same item, for an item that was merged into another and
for a negative `most_events`.
$$;

grant execute on function track.merge_items(text, text, int) to insights_admin;
--! EndIncluded track/items/merge_items.sql

--! Included track/items/unmerge_item.sql
create or replace function track.unmerge_item(item text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_item track.item;
  v_names text;
begin
  perform common.check_count('most_events', unmerge_item.most_events, 0, 2147483647);
  perform track._begin_naming();
  v_item := track._known_item(unmerge_item.item);
  if v_item.target_item_id is null then
    select string_agg(format('"%s"', left(known.external_id, 100)), ', ' order by known.external_id)
    into v_names
    from (
      select merged.external_id
      from track.item as merged
      where merged.target_item_id = v_item.item_id
      order by merged.external_id
      limit 10
    ) as known;
    perform common.refuse(
      'CF001',
      format('item "%s" is not merged', left(unmerge_item.item, 100)),
      coalesce(
        'Give an item that was merged into it: ' || v_names || '.',
        'No item was merged into it either. The log of changed names is track.name_log.'
      )
    );
  end if;
  perform track._log_name('item unmerged', unmerge_item.item, (
    select target.external_id
    from track.item as target
    where target.item_id = v_item.target_item_id
  ));
  perform track._point_items(array[v_item.item_id], array[null::bigint]);
  return track._apply_names(unmerge_item.most_events);
end;
$$;

comment on function track.unmerge_item(text, int) is $$
Undoes `track.merge_items` or `track.rename_item` of `item`.
Every event, part, prerequisite and enrolment that was sent or stored with its name goes back to it, also those of later
messages and tables, with the names that were merged into it; and both items have the columns again that were stated of
each. Merges can be undone in any order. Events that an earlier version merged stay: it did not keep their names.
Returns the number of stored events that this call changed, at most `most_events`; the others follow with the next calls
of `track.refresh`. Messages wait while it runs, as with `track.merge_items`.
Errors: CF002 for an unknown item, CF001 for one that is not merged and for a negative `most_events`.
$$;

grant execute on function track.unmerge_item(text, int) to insights_admin;
--! EndIncluded track/items/unmerge_item.sql

--! Included track/items/rename_item.sql
create or replace function track.rename_item(item text, new_id text, most_events int default 100000)
returns bigint
language plpgsql
volatile
-- A definer: it changes the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_item track.item;
  v_known track.item;
  v_new_id bigint;
begin
  perform common.check_count('most_events', rename_item.most_events, 0, 2147483647);
  if coalesce(rename_item.new_id, '') = '' then
    perform common.refuse(
      'CF001',
      format('new_id is %s', case rename_item.new_id when '' then 'empty' else 'null' end),
      'Give the new external id of the item.'
    );
  end if;
  if length(rename_item.new_id) > 512 then
    perform common.refuse('CF008', format('new_id has %s characters', length(rename_item.new_id)),
      'The external id of an item has 512 at most.');
  end if;
  perform track._begin_naming();
  v_item := track._known_item(rename_item.item);
  select known.* into v_known from track.item as known where known.external_id = rename_item.new_id;
  -- A repeated call continues with the events.
  if v_item.target_item_id = v_known.item_id then
    return track._apply_names(rename_item.most_events);
  end if;
  if v_known.item_id is not null then
    perform common.refuse(
      'CF001',
      format('there is an item "%s"', left(rename_item.new_id, 100)),
      case
        when v_known.target_item_id = v_item.item_id
          then 'It was merged into this one: to undo that, use track.unmerge_item.'
        else 'Merge the two: track.merge_items.'
      end
    );
  end if;
  perform track._refuse_merged_item(v_item);

  insert into track.item (external_id, created_at)
  values (rename_item.new_id, v_item.created_at)
  returning item_id into v_new_id;
  perform track._point_items(array[v_item.item_id], array[v_new_id]);
  perform track._log_name('item renamed', rename_item.item, rename_item.new_id);
  return track._apply_names(rename_item.most_events);
end;
$$;

comment on function track.rename_item(text, text, int) is $$
Gives an item another external id. Messages and tables with the old one and with the new one mean the same item.
A new item gets `new_id`, and `item` is merged into it: see `track.merge_items`, also for `most_events` and the result.
`track.unmerge_item(item)` undoes it: what was sent with the old id goes back, and what was sent with the new one stays.
Errors: CF002 for an unknown item, CF001 for a new id that exists or is empty, for an item that was merged into another
and for a negative `most_events`, CF008 for an id of more than 512 characters.
$$;

grant execute on function track.rename_item(text, text, int) to insights_admin;
--! EndIncluded track/items/rename_item.sql

--! Included track/items/apply_path_rule.sql
create or replace function track.apply_path_rule(most_items int default 1000)
returns int
language plpgsql
volatile
-- A definer: it moves the events of all people, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set lock_timeout to '5s'
as $$
declare
  v_setting track.setting;
  v_candidates bigint[];
  v_renamed int;
  v_items bigint[];
  v_targets bigint[];
begin
  perform common.check_count('most_items', apply_path_rule.most_items, 1, 100000);
  perform track._begin_naming();
  select setting.* into v_setting from track.setting;

  -- Items with the name of a page that is not normal by the rule of at least one source. A name of 512 characters may
  -- have been cut.
  v_candidates := array(
    select item.item_id
    from track.item
    where item.kind in ('page', 'unknown')
      and item.external_id ~* '^([/?#]|https?://)'
      and length(item.external_id) < 512
      and exists (
        select
        from track.source
        where item.external_id <> track._path_item(
          item.external_id,
          coalesce(source.path_rule, v_setting.path_rule),
          coalesce(source.kept_parameters, v_setting.kept_parameters)
        )
      )
  );
  if v_candidates = '{}' then
    return 0;
  end if;

  -- Their sources. Items that an event names by "properties.item" were not named by a path.
  with used as materialized (
    select event.item_id, event.source_id, bool_or(event.properties ? 'item') as is_named
    from track.event
    where event.item_id = any (v_candidates)
    group by event.item_id, event.source_id
  ),

  normal as (
    select
      item.item_id,
      track._path_item(
        item.external_id,
        coalesce(source.path_rule, v_setting.path_rule),
        coalesce(source.kept_parameters, v_setting.kept_parameters)
      ) as name,
      coalesce(used.is_named, false) as is_named
    from track.item
    left join used on used.item_id = item.item_id
    left join track.source on source.source_id = used.source_id
    where item.item_id = any (v_candidates)
  ),

  agreed as (
    select normal.item_id, min(normal.name) as name
    from normal
    group by normal.item_id
    having min(normal.name) = max(normal.name) and not bool_or(normal.is_named)
  ),

  planned as (
    select agreed.item_id, agreed.name
    from agreed
    join track.item on item.item_id = agreed.item_id
    where item.external_id <> agreed.name
    order by agreed.item_id
    limit apply_path_rule.most_items
  ),

  -- The oldest of the items of a name that no item has gets it, which moves no event.
  renamed as (
    update track.item
    set external_id = chosen.name, updated_at = now()
    from (
      select distinct on (planned.name) planned.name, planned.item_id
      from planned
      where not exists (select from track.item as known where known.external_id = planned.name)
      order by planned.name, planned.item_id
    ) as chosen
    where item.item_id = chosen.item_id
    returning item.item_id, item.external_id
  ),

  paired as (
    select
      planned.item_id, coalesce(target.item_id, renamed.item_id) as target_id,
      coalesce(target.merged_item_id, target.item_id, renamed.item_id) as root_id
    from planned
    left join track.item as target on target.external_id = planned.name
    left join renamed on renamed.external_id = planned.name
  ),

  -- Items of a cycle of such pairs wait for the next call, except the first ones.
  merged as (
    select paired.item_id, paired.target_id
    from paired
    where paired.item_id < paired.root_id
      or paired.item_id > paired.root_id
      and not exists (
        select
        from paired as other
        where other.item_id = paired.root_id
          and other.item_id <> other.root_id
      )
  )

  select (select count(*) from renamed), array_agg(merged.item_id), array_agg(merged.target_id)
  into v_renamed, v_items, v_targets
  from merged;

  if v_items is not null then
    perform track._point_items(v_items, v_targets);
    perform track._log_name('item merged', item.external_id, target.external_id)
    from unnest(v_items, v_targets) as merged (item_id, target_id)
    join track.item on item.item_id = merged.item_id
    join track.item as target on target.item_id = merged.target_id
    order by item.external_id;
    perform track._apply_names(100000);
  end if;
  return v_renamed + coalesce(cardinality(v_items), 0);
end;
$$;

comment on function track.apply_path_rule(int) is $$
Applies the path rules of `track.setting` and `track.source` to the pages that are stored.
Items are renamed, and those that get the same name are merged, as by `track.merge_items`. Returns the number of items;
0: all are done.
At most `most_items` items are changed by a call. All events are read, and messages wait meanwhile. Items that an event
names explicitly (`properties.item`), described ones (of another kind than `page` and `unknown`), and those on which the
rules of their sources disagree are not changed. A merge can be undone by `track.unmerge_item`, a new name cannot.
Errors: CF001 unless `most_items` is from 1 to 100,000.
$$;

grant execute on function track.apply_path_rule(int) to insights_admin;
--! EndIncluded track/items/apply_path_rule.sql

--! Included track/presence/stored_activity.sql
create or replace function track.stored_activity(people bigint[], first_days date[], end_days date[])
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_activity.people, stored_activity.first_days, stored_activity.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      step.person_id,
      step.event_type_id,
      step.is_automatic,
      step.occurred_at[slice.before + 1:slice.until] as occurred_at,
      step.item_ids[slice.before + 1:slice.until] as item_ids
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
    cross join lateral (
      select
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    ) as slice
    where slice.before < slice.until
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.event_type_id,
    nullif(happened.item_id, 0)::bigint,
    count(*)::int,
    interval '0',
    (count(*) filter (where sliced.is_automatic))::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.item_ids) as happened (occurred_at, item_id)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.session
    on session.person_id = period.person_id
    and session.ended_at >= period.since
    and session.started_at < period.until
  join track.page_view
    on page_view.person_id = session.person_id
    and page_view.session_id = session.session_id
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  -- Until the first refresh after an upgrade, the page views of a person are in no table of presence and sums.
  where exists (select from track.step where step.person_id = period.person_id)
  group by 1, 2, 4;
end;
$$;

comment on function track.stored_activity(bigint[], date[], date[]) is $$
@behavior -*
Returns the activity of people as of the last refresh, which is what the tables of presence and sums contain.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. Reads `track.step` and the page views.
$$;

grant execute on function track.stored_activity(bigint[], date[], date[]) to insights_reader, insights_admin;
--! EndIncluded track/presence/stored_activity.sql

--! Included track/presence/event_activity.sql
create or replace function track.event_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_type_id int default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(event_activity.people, event_activity.first_days, event_activity.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (event_activity.event_type_id is null or event.event_type_id = event_activity.event_type_id)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.session
    on session.person_id = period.person_id
    and session.ended_at >= period.since
    and session.started_at < period.until
  join track.page_view
    on page_view.person_id = session.person_id
    and page_view.session_id = session.session_id
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  where event_activity.event_type_id is null
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    and exists (
      select
      from track.event
      where event.person_id = page_view.person_id
        and event.occurred_at between page_view.started_at and page_view.ended_at
        and event.event_id = page_view.event_id
    )
  group by 1, 2, 4;
end;
$$;

comment on function track.event_activity(bigint[], date[], date[], int) is $$
@behavior -*
Returns the activity of people, computed from their events: what `track.stored_activity` returns after a refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `event_type_id`: only the events of this type, without page views; null: everything.
The page views, with their engaged time, are those of the last refresh of the sessions.
$$;

grant execute on function track.event_activity(bigint[], date[], date[], int) to insights_reader, insights_admin;
--! EndIncluded track/presence/event_activity.sql

--! Included track/presence/course_people.sql
create or replace function track.course_people(courses bigint[], first_month date, end_month date)
returns table (course_id bigint, month date, person_id bigint, days int)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select course.item_id, item_month.month, item_month.part::bigint * 32768 + used.person, bit_or(used.days)
  from track.item as course
  join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
  join track.item_month on item_month.item_id = ancestor.item_id
  cross join lateral unnest(item_month.people, item_month.days) as used (person, days)
  where course.item_id = any (course_people.courses)
    and course.kind = 'course'
    and item_month.month >= course_people.first_month
    and item_month.month < course_people.end_month
  group by 1, 2, 3;
end;
$$;

comment on function track.course_people(bigint[], date, date) is $$
@behavior -*
Returns the people of courses by month, with their days, as of the last refresh: what `track.course_presence` stores.
Computed from `track.item_month`, for the months between two (`end_month` exclusive).
$$;

grant execute on function track.course_people(bigint[], date, date) to insights_reader, insights_admin;
--! EndIncluded track/presence/course_people.sql

--! Included track/presence/_refresh_steps.sql
create or replace function track._refresh_steps(people bigint[], first_days date[], end_days date[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(_refresh_steps.people, _refresh_steps.first_days, _refresh_steps.end_days)
      as entry (person_id, first_day, end_day)
  ),

  happened as (
    select
      event.person_id,
      event.event_type_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      event.occurred_at,
      coalesce(event.item_id, 0)::int as item_id
    from period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at < period.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  fresh as (
    select
      happened.person_id, happened.event_type_id, happened.is_automatic, happened.since,
      array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id) as occurred_at,
      array_agg(happened.item_id order by happened.occurred_at, happened.item_id) as item_ids
    from happened
    group by happened.person_id, happened.event_type_id, happened.is_automatic, happened.since
  ),

  -- The stored events before and after the period are kept.
  stored as (
    select
      step.*,
      width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
  ),

  merged as (
    select
      person_id, event_type_id, is_automatic, since,
      stored.occurred_at as stored_at,
      stored.item_ids as stored_ids,
      coalesce(stored.occurred_at[:stored.before], '{}') || coalesce(fresh.occurred_at, '{}')
        || coalesce(stored.occurred_at[stored.until + 1:], '{}') as occurred_at,
      coalesce(stored.item_ids[:stored.before], '{}') || coalesce(fresh.item_ids, '{}')
        || coalesce(stored.item_ids[stored.until + 1:], '{}') as item_ids
    from stored
    full join fresh using (person_id, event_type_id, is_automatic, since)
  ),

  deleted as (
    delete from track.step
    using merged
    where merged.occurred_at = '{}'
      and step.person_id = merged.person_id
      and step.event_type_id = merged.event_type_id
      and step.is_automatic = merged.is_automatic
      and step.since = merged.since
  )

  insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
  select
    merged.person_id, merged.event_type_id, merged.is_automatic, merged.since, merged.occurred_at, merged.item_ids
  from merged
  where merged.occurred_at <> '{}'
    and (merged.occurred_at, merged.item_ids) is distinct from (merged.stored_at, merged.stored_ids)
  on conflict on constraint step_pkey do update
  set occurred_at = excluded.occurred_at, item_ids = excluded.item_ids;
end;
$$;

comment on function track._refresh_steps(bigint[], date[], date[]) is $$
Recomputes the rows of `track.step` in the given days (UTC) of people, one range per person.
Each position is a person, the first day, and the day after the last one. Reads only the events of these days.
$$;
--! EndIncluded track/presence/_refresh_steps.sql

--! Included track/presence/_change_presence.sql
/*
 * Whether a bit is set depends on the activity of its person alone. Bits are therefore set and cleared by comparing the
 * activity of the person before and after, and the activity of nobody else is read.
 */
create or replace function track._change_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  with by_person as (
    select
      typed.event_type_id, entry.day, entry.person_id, bool_or(entry.was) as was, bool_or(not entry.was) as is_present
    from (
      select *, false as was from unnest(_change_presence.added)
      union all
      select *, true from unnest(_change_presence.removed)
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where entry.person_id <> 0
      and typed.event_count > 0
    group by 1, 2, 3
    having bool_or(entry.was) <> bool_or(not entry.was)
  )

  merge into track.presence
  using (
    select
      by_person.event_type_id, by_person.day, (by_person.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.is_present), v_no_people)
        as set_bits,
      coalesce(bit_or(track.person_bit(by_person.person_id)) filter (where by_person.was), v_no_people) as cleared_bits
    from by_person
    group by 1, 2, 3
  ) as change
  on presence.event_type_id = change.event_type_id
    and presence.day = change.day
    and presence.block = change.block
  when matched
    and presence.event_count = 0
    and bit_count(presence.people & ~change.cleared_bits | change.set_bits) = 0
  then delete
  when matched then update set people = presence.people & ~change.cleared_bits | change.set_bits
  when not matched then
    insert (event_type_id, day, block, people, event_count, counted_count)
    values (change.event_type_id, change.day, change.block, change.set_bits, 0, 0);
end;
$$;

comment on function track._change_presence(track.activity[], track.activity[]) is $$
Clears and sets the bits of `track.presence` of people whose activity changed, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_item_months(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with by_person as (
    select
      entry.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_item_months.added)
      union all
      select item_id, day, person_id, true from unnest(_change_item_months.removed)
    ) as entry
    where entry.item_id is not null
      and entry.person_id <> 0
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 32768)::int as part,
      array_agg((by_person.person_id % 32768)::smallint) as people,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.item_month
  using (
    select change.item_id, change.month, change.part, fresh.people, fresh.days
    from change
    left join track.item_month as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.part = change.part
    cross join lateral (
      select
        array_agg(combined.person order by combined.person) as people,
        array_agg(combined.days order by combined.person) as days
      from (
        select
          entry.person, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days
        from (
          select listed.person, listed.days, 0 as cleared, 0 as added
          from unnest(stored.people, stored.days) as listed (person, days)
          union all
          select changed.person, 0, changed.cleared, changed.added
          from unnest(change.people, change.cleared, change.added) as changed (person, cleared, added)
        ) as entry
        group by entry.person
      ) as combined
      where combined.days <> 0
    ) as fresh
  ) as change
  on item_month.item_id = change.item_id and item_month.month = change.month and item_month.part = change.part
  when matched and change.people is null then delete
  when matched then update set people = change.people, days = change.days
  when not matched and change.people is not null then
    insert (item_id, month, part, people, days, event_count, engaged)
    values (change.item_id, change.month, change.part, change.people, change.days, 0, interval '0');
end;
$$;

comment on function track._change_item_months(track.activity[], track.activity[]) is $$
Changes the people and days of `track.item_month` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;

create or replace function track._change_course_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with by_person as (
    select
      course.item_id, date_trunc('month', entry.day::timestamp)::date as month, entry.person_id,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where entry.was), 0) as cleared,
      coalesce(bit_or(1 << (extract(day from entry.day)::int - 1)) filter (where not entry.was), 0) as added
    from (
      select item_id, day, person_id, false as was from unnest(_change_course_presence.added)
      union
      select item_id, day, person_id, true from unnest(_change_course_presence.removed)
    ) as entry
    join track.item_ancestor as ancestor on ancestor.item_id = entry.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where entry.person_id <> 0
      -- Courses that are queued are recomputed by the next refresh.
      and course.item_id not in (select stale_course.item_id from track.stale_course)
    group by 1, 2, 3
  ),

  change as materialized (
    select
      by_person.item_id, by_person.month, (by_person.person_id / 4096)::int as block,
      array_agg((by_person.person_id % 4096)::smallint) as members,
      array_agg(by_person.cleared) as cleared,
      array_agg(by_person.added) as added
    from by_person
    where by_person.cleared <> by_person.added
    group by 1, 2, 3
  )

  merge into track.course_presence
  using (
    select change.item_id, change.month, change.block, fresh.people, fresh.members, fresh.days
    from change
    left join track.course_presence as stored
      on stored.item_id = change.item_id and stored.month = change.month and stored.block = change.block
    cross join lateral (
      select
        bit_or(track.person_bit(combined.member)) as people,
        array_agg(combined.member order by combined.member) as members,
        array_agg(combined.days order by combined.member) as days
      from (
        select
          entry.member, bit_or(entry.days) & ~bit_or(entry.cleared) | bit_or(entry.added) as days
        from (
          select listed.member, listed.days, 0 as cleared, 0 as added
          from unnest(stored.members, stored.days) as listed (member, days)
          union all
          select changed.member, 0, changed.cleared, changed.added
          from unnest(change.members, change.cleared, change.added) as changed (member, cleared, added)
        ) as entry
        group by entry.member
      ) as combined
      where combined.days <> 0
    ) as fresh
  ) as change
  on course_presence.item_id = change.item_id
    and course_presence.month = change.month
    and course_presence.block = change.block
  when matched and change.people is null then delete
  when matched then update set people = change.people, members = change.members, days = change.days
  when not matched and change.people is not null then
    insert (item_id, month, block, people, members, days)
    values (change.item_id, change.month, change.block, change.people, change.members, change.days);
end;
$$;

comment on function track._change_course_presence(track.activity[], track.activity[]) is $$
Changes the people and days of `track.course_presence` after a change of activity, given before and after the change.
Both contain all activity of these people on the days of the change.
$$;
--! EndIncluded track/presence/_change_presence.sql

--! Included track/presence/_change_item_sums.sql
create or replace function track._change_item_sums(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items bigint[];
  v_with_parts boolean[];
  v_days date[];
  v_event_counts int[];
  v_person_counts int[];
  v_engaged interval[];
begin
  -- Items by themselves, and courses with all that they contain.
  with signed as (
    select entry.person_id, entry.item_id, entry.day, entry.event_count, entry.engaged, true as is_added
    from unnest(_change_item_sums.added) as entry
    where entry.item_id is not null
    union all
    select entry.person_id, entry.item_id, entry.day, -entry.event_count, -entry.engaged, false
    from unnest(_change_item_sums.removed) as entry
    where entry.item_id is not null
  ),

  by_person as (
    select
      signed.item_id, false as with_parts, signed.day, signed.person_id,
      sum(signed.event_count) as event_count,
      sum(signed.engaged) as engaged,
      bool_or(signed.is_added)::int - bool_or(not signed.is_added)::int as person_count
    from signed
    group by signed.item_id, signed.day, signed.person_id

    union all

    select
      course.item_id, true, signed.day, signed.person_id,
      sum(signed.event_count),
      sum(signed.engaged),
      bool_or(signed.is_added)::int - bool_or(not signed.is_added)::int
    from signed
    join track.item_ancestor as ancestor on ancestor.item_id = signed.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    -- Courses that are queued are recomputed by the next refresh.
    where course.item_id not in (select stale_course.item_id from track.stale_course)
    group by course.item_id, signed.day, signed.person_id
  ),

  change as (
    select
      by_person.item_id, by_person.with_parts, by_person.day,
      sum(by_person.event_count)::int as event_count,
      sum(by_person.person_count)::int as person_count,
      sum(by_person.engaged) as engaged
    from by_person
    group by by_person.item_id, by_person.with_parts, by_person.day
    having sum(by_person.event_count) <> 0
      or sum(by_person.person_count) <> 0
      or sum(by_person.engaged) <> interval '0'
  )

  select
    array_agg(change.item_id), array_agg(change.with_parts), array_agg(change.day), array_agg(change.event_count),
    array_agg(change.person_count), array_agg(change.engaged)
  into v_items, v_with_parts, v_days, v_event_counts, v_person_counts, v_engaged
  from change;
  if v_items is null then
    return;
  end if;

  merge into track.item_day
  using unnest(v_items, v_with_parts, v_days, v_event_counts, v_person_counts, v_engaged)
    as change (item_id, with_parts, day, event_count, person_count, engaged)
  on item_day.with_parts = change.with_parts
    and item_day.day = change.day
    and item_day.item_id = change.item_id
  when matched and item_day.person_count + change.person_count = 0 then delete
  when matched then
    update set
      event_count = item_day.event_count + change.event_count,
      person_count = item_day.person_count + change.person_count,
      engaged = item_day.engaged + change.engaged
  when not matched and change.person_count > 0 then
    insert (item_id, with_parts, day, event_count, person_count, engaged)
    values (
      change.item_id, change.with_parts, change.day, change.event_count, change.person_count, change.engaged
    );

  update track.item_month
  set event_count = item_month.event_count + change.event_count, engaged = item_month.engaged + change.engaged
  from (
    select
      signed.item_id, (signed.person_id / 32768)::int as part,
      date_trunc('month', signed.day::timestamp)::date as month,
      sum(signed.event_count)::int as event_count,
      sum(signed.engaged) as engaged
    from (
      select entry.person_id, entry.item_id, entry.day, entry.event_count, entry.engaged
      from unnest(_change_item_sums.added) as entry
      union all
      select entry.person_id, entry.item_id, entry.day, -entry.event_count, -entry.engaged
      from unnest(_change_item_sums.removed) as entry
    ) as signed
    where signed.item_id is not null
    group by 1, 2, 3
    having sum(signed.event_count) <> 0 or sum(signed.engaged) <> interval '0'
  ) as change
  where item_month.item_id = change.item_id
    and item_month.month = change.month
    and item_month.part = change.part;
end;
$$;

comment on function track._change_item_sums(track.activity[], track.activity[]) is $$
Subtracts activity from the sums of `track.item_day` and `track.item_month`, and adds other activity.
Both contain all activity of people in the set `counted` on the days of the change. A month that has no row any more is
left out.
$$;
--! EndIncluded track/presence/_change_item_sums.sql

--! Included track/presence/_change_type_sums.sql
create or replace function track._change_type_sums(
  set_name text, removed track.activity[], added track.activity[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  merge into track.presence
  using (
    select
      change.event_type_id, change.day, change.block,
      case _change_type_sums.set_name when 'excluded' then change.event_count else 0 end as event_count,
      case _change_type_sums.set_name when 'counted' then change.event_count else 0 end as counted_count
    from (
      select
        counted.event_type_id, signed.day, (signed.person_id / 4096)::int as block,
        sum(signed.sign * counted.event_count)::int as event_count
      from (
        select entry.*, 1 as sign from unnest(_change_type_sums.added) as entry where entry.event_count > 0
        union all
        select entry.*, -1 from unnest(_change_type_sums.removed) as entry where entry.event_count > 0
      ) as signed
      cross join lateral (
        values (signed.event_type_id, signed.event_count), (0, signed.event_count - signed.automatic_count)
      ) as counted (event_type_id, event_count)
      group by 1, 2, 3
      having sum(signed.sign * counted.event_count) <> 0
    ) as change
  ) as change
  on presence.event_type_id = change.event_type_id
    and presence.day = change.day
    and presence.block = change.block
  when matched and presence.event_count + change.event_count = 0 and bit_count(presence.people) = 0 then delete
  when matched then
    update set
      event_count = presence.event_count + change.event_count,
      counted_count = presence.counted_count + change.counted_count
  when not matched and change.event_count > 0 then
    insert (event_type_id, day, block, people, event_count, counted_count)
    values (
      change.event_type_id, change.day, change.block, b'0'::bit(4096), change.event_count, change.counted_count
    );
end;
$$;

comment on function track._change_type_sums(text, track.activity[], track.activity[]) is $$
Subtracts events from a sum of `track.presence`, and adds others.
`set_name`: `counted` for the sum of the people in this set, `excluded` for that of the people who are not in it.
$$;
--! EndIncluded track/presence/_change_type_sums.sql

--! Included track/presence/_refresh_presence.sql
create or replace function track._refresh_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_counted_removed track.activity[];
  v_counted_added track.activity[];
  v_included_removed track.activity[];
  v_included_added track.activity[];
begin
  if removed is not distinct from added then
    return;
  end if;
  perform track._change_presence(removed, added);
  perform track._change_item_months(removed, added);
  perform track._change_course_presence(removed, added);

  v_counted_removed := track._activity_in_set('counted', removed, true);
  v_counted_added := track._activity_in_set('counted', added, true);
  v_included_removed := track._activity_in_set('excluded', removed, false);
  v_included_added := track._activity_in_set('excluded', added, false);
  perform track._change_item_sums(v_counted_removed, v_counted_added);
  perform track._change_type_sums('counted', v_counted_removed, v_counted_added);
  perform track._change_type_sums('excluded', v_included_removed, v_included_added);
end;
$$;

comment on function track._refresh_presence(track.activity[], track.activity[]) is $$
Applies a change of stored activity to presence and sums: the activity of people on some days before and after it.
$$;

create or replace function track._activity_in_set(set_name text, activity track.activity[], is_member boolean)
returns track.activity[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select entry
    from unnest(activity) as entry
    left join track.person_set_block as stored
      on stored.name = _activity_in_set.set_name
      and stored.block = entry.person_id / 4096
    where is_member = (coalesce(get_bit(stored.people, (entry.person_id % 4096)::int), 0) <> 0)
  );
end;
$$;

comment on function track._activity_in_set(text, track.activity[], boolean) is $$
Returns the activity of the people who are, or are not, in a set as of the last refresh of the sets.
$$;
--! EndIncluded track/presence/_refresh_presence.sql

--! Included track/presence/_refresh_course_presence.sql
create or replace function track._refresh_course_presence()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_courses bigint[];
begin
  if not exists (select from track.stale_course) then
    return;
  end if;
  with taken as (
    delete from track.stale_course
    returning stale_course.item_id
  )
  select array_agg(distinct taken.item_id) into v_courses from taken;

  delete from track.course_presence where course_presence.item_id = any (v_courses);
  insert into track.course_presence (item_id, month, block, people, members, days)
  select
    used.course_id, used.month, (used.person_id / 4096)::int,
    bit_or(track.person_bit(used.person_id)),
    array_agg((used.person_id % 4096)::smallint order by used.person_id),
    array_agg(used.days order by used.person_id)
  from track.course_people(v_courses, '-infinity', 'infinity') as used
  group by 1, 2, 3;

  delete from track.item_day where item_day.with_parts and item_day.item_id = any (v_courses);
  insert into track.item_day (item_id, with_parts, day, event_count, person_count, engaged)
  select course.item_id, true, summed.day, summed.event_count, counted.person_count, summed.engaged
  from track.item as course
  cross join lateral (
    select item_day.day, sum(item_day.event_count)::int as event_count, sum(item_day.engaged) as engaged
    from track.item_ancestor as ancestor
    join track.item_day on item_day.item_id = ancestor.item_id and not item_day.with_parts
    where ancestor.ancestor_item_id = course.item_id
    group by item_day.day
  ) as summed
  join lateral (
    select used.day, count(*)::int as person_count
    from (
      select distinct item_month.month + place as day, item_month.part, listed.person
      from track.item_ancestor as ancestor
      join track.item_month on item_month.item_id = ancestor.item_id
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
      join track.person_set_block as counted
        on counted.name = 'counted'
        and counted.block = item_month.part * 8 + listed.person / 4096
        and get_bit(counted.people, listed.person % 4096) <> 0
      where ancestor.ancestor_item_id = course.item_id
    ) as used
    group by used.day
  ) as counted on counted.day = summed.day
  where course.item_id = any (v_courses)
    and course.kind = 'course';
end;
$$;

comment on function track._refresh_course_presence() is $$
Recomputes `track.course_presence`, and the sums of days, for the courses whose items changed (`track.stale_course`).
$$;
--! EndIncluded track/presence/_refresh_course_presence.sql

--! Included track/presence/_move_sums.sql
create or replace function track._move_sums(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- An array of activity has a limit of 1 GB, so that people are moved some at a time.
  v_at_once constant int := 100;
  v_joined track.activity[];
  v_departed track.activity[];
begin
  for v_first in 1..greatest(cardinality(joined), cardinality(departed)) by v_at_once loop
    v_joined := array(select track._whole_activity(joined[v_first:v_first + v_at_once - 1]));
    v_departed := array(select track._whole_activity(departed[v_first:v_first + v_at_once - 1]));
    if set_name = 'counted' then
      perform track._change_item_sums(v_departed, v_joined);
      perform track._change_type_sums(set_name, v_departed, v_joined);
    elsif set_name = 'excluded' then
      perform track._change_type_sums(set_name, v_joined, v_departed);
    end if;
  end loop;
end;
$$;

comment on function track._move_sums(text, bigint[], bigint[]) is $$
Changes the sums of items and event types for people who joined or left the set `counted` or `excluded`.
$$;

create or replace function track._whole_activity(people bigint[])
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people,
    array_fill('-infinity'::date, array[cardinality(people)]),
    array_fill('infinity'::date, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._whole_activity(bigint[]) is $$
Returns all stored activity of people.
$$;
--! EndIncluded track/presence/_move_sums.sql

--! Included track/functions/_convert_page_views.sql
/*
 * Versions before this one stored page views in a table. The migration keeps its rows in track.stored_page_view, which
 * the view track.page_view reads too, until all of them are in the sessions: see src/database/page-views.ts.
 */
create or replace function track._convert_page_views(people bigint[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Null when the migration is complete.
  v_stored constant regclass := to_regclass('track.stored_page_view');
  v_converted bigint;
begin
  if v_stored is null then
    return 0;
  end if;

  -- A refresh deletes and inserts the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  execute format($statement$
    with taken as (
      delete from %s as stored
      where stored.person_id = any ($1)
      returning stored.*
    ),

    placed as (
      select
        taken.*,
        session.started_at as session_started_at,
        coalesce(
          lead(taken.started_at) over (
            partition by taken.person_id, taken.session_id
            order by taken.view_number
          ),
          session.ended_at
        ) as usual_end
      from taken
      join track.session using (person_id, session_id)
    ),

    encoded as (
      select
        placed.*,
        (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
        case
          when ended_at <> usual_end then (extract(epoch from ended_at - session_started_at) * 1000000)::bigint
        end as view_end,
        case
          when engaged <> ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
        end as view_engaged,
        case engaged_by when 'heartbeats' then heartbeat_count when 'nothing' then -1 end as view_heartbeats,
        case when is_continued then true end as view_continued
      from placed
    ),

    listed as (
      select
        person_id,
        session_id,
        array_agg(event_id order by view_number) as event_ids,
        case when count(item_id) > 0 then array_agg(item_id order by view_number) end as item_ids,
        array_agg(view_start order by view_number) as starts,
        case when count(view_end) > 0 then array_agg(view_end order by view_number) end as ends,
        case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) end as engaged,
        case when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) end as heartbeats,
        case when count(view_continued) > 0 then array_agg(view_continued order by view_number) end as continued,
        case when count(view_key) > 0 then array_agg(view_key order by view_number) end as view_keys
      from encoded
      group by person_id, session_id
    ),

    stored as (
      update track.session
      set
        view_event_ids = listed.event_ids,
        view_item_ids = listed.item_ids,
        view_starts = listed.starts,
        view_ends = listed.ends,
        view_engaged = listed.engaged,
        view_heartbeats = listed.heartbeats,
        view_continued = listed.continued,
        view_keys = listed.view_keys
      from listed
      where session.person_id = listed.person_id
        and session.session_id = listed.session_id
    )

    select count(*)
    from taken
  $statement$, v_stored)
  into v_converted
  using people;
  return v_converted;
end;
$$;

comment on function track._convert_page_views(bigint[]) is $$
Moves the page views of people from `track.stored_page_view`, a table of earlier versions, into their sessions.
Returns their number; 0 when there is no such table. `insights migrate` calls it until all are moved, and a refresh for
the people that it refreshes.
$$;
--! EndIncluded track/functions/_convert_page_views.sql

--! Included track/functions/_refresh_sessions.sql
/*
 * The time of a session is divided among its page views so that each moment counts once. A heartbeat confirms the time
 * before it, back to the previous heartbeat of the session or the opening of its page view, at most one interval. An
 * event is followed by a gap, up to the next event or the time that the next heartbeat confirms. Page views of clients
 * with heartbeats have the time that their heartbeats confirm, those of other clients their gaps.
 */
create or replace function track._compute_sessions(
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  setting track.setting
)
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
  v_result track.refresh_result;
begin
  delete from track.session
  using unnest(people, since, until) as period (person_id, since, until)
  where session.person_id = period.person_id
    and session.ended_at between period.since and period.until;

  delete from track.automatic_period
  using unnest(people, _compute_sessions.since, _compute_sessions.until) as period (person_id, since, until)
  where automatic_period.person_id = period.person_id
    and automatic_period.since >= period.since
    and automatic_period.until <= period.until;
  -- Those of people that were merged into others. A merge deletes none, so that it never waits for a refresh.
  delete from track.automatic_period
  where automatic_period.person_id = any (array(
    select merged.person_id
    from unnest(people) as merged (person_id)
    where not exists (select from track.person where person.person_id = merged.person_id)
  ));

  -- Events of automatic types and sources pass through the steps as sessions of their own, with negative numbers, so
  -- that the events are read once.
  with happened as (
    select
      event.person_id,
      event.occurred_at,
      event.event_id,
      event.item_id,
      event.source_id,
      event.identity_id,
      event_type.opens_view,
      event_type.is_heartbeat,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event_type.opens_view or event_type.is_heartbeat
          then hashtextextended(event.properties ->> 'viewId', 0)
      end as view_key,
      case
        when not event_type.is_heartbeat then null
        when jsonb_typeof(event.properties -> 'interval') = 'number'
          and (event.properties ->> 'interval')::numeric > 0
          then least((event.properties ->> 'interval')::numeric, 86400)::float8 * interval '1 second'
        else coalesce(source.heartbeat, v_setting.heartbeat)
      end as heartbeat
    from unnest(people, since, until) as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at between period.since and period.until
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    -- Person 0 (anonymized events) has no sessions.
    where period.person_id <> 0
  ),

  followed as (
    select
      happened.*,
      lag(occurred_at) over earlier as previous_at,
      max(occurred_at) filter (where is_heartbeat) over earlier as previous_heartbeat_at
    from happened
    window earlier as (
      partition by person_id, is_automatic
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  numbered as (
    select
      followed.*,
      case when is_automatic then -1 else 1 end
        * count(*) filter (where previous_at is null or occurred_at - previous_at > v_setting.session_timeout)
        over (partition by person_id, is_automatic order by occurred_at, event_id) as session_number
    from followed
  ),

  placed as (
    select
      numbered.*,
      first_value(event_id) over session_in_order as session_id,
      first_value(occurred_at) over session_in_order
        - case
          when first_value(is_heartbeat) over session_in_order
            then least(v_setting.minimum_visit, v_setting.session_timeout)
          else interval '0'
        end as session_started_at,
      count(*) filter (where opens_view) over session_in_order as view_number,
      max(occurred_at) filter (where opens_view) over session_in_order as view_opened_at,
      max(occurred_at) filter (where not is_heartbeat) over session_in_order as last_action_at,
      count(item_id) over session_in_order as item_number
    from numbered
    window session_in_order as (partition by person_id, session_number order by occurred_at, event_id)
  ),

  -- A heartbeat belongs to the view of its name that was opened before it. One without a name belongs to the last view.
  -- Others continue a view that was not opened in the session: that of their name, or else that of their item.
  keyed as (
    select
      placed.*,
      case when is_heartbeat and view_key is null and view_number = 0 then item_id end as continued_item_id
    from placed
  ),

  named as (
    select
      keyed.*,
      max(view_number) filter (where opens_view) over earlier_of_key as named_number,
      max(occurred_at) filter (where opens_view) over earlier_of_key as named_opened_at,
      max(occurred_at) filter (where is_heartbeat) over earlier_of_key as named_heartbeat_at
    from keyed
    window earlier_of_key as (
      partition by person_id, session_number, view_key, continued_item_id
      order by occurred_at, event_id
      rows between unbounded preceding and 1 preceding
    )
  ),

  targeted as (
    select
      named.*,
      case when is_heartbeat and view_key is not null then coalesce(named_number, 0) else view_number end
        as target_number,
      case when view_key is null then view_opened_at else named_opened_at end as opened_at
    from named
  ),

  confirmed as (
    select
      targeted.*,
      is_heartbeat and target_number = 0 as is_continued,
      is_heartbeat and (named_heartbeat_at is null or named_heartbeat_at < opened_at) as is_first_heartbeat,
      case
        when is_heartbeat
          then greatest(
            occurred_at - case
              when named_heartbeat_at is null or named_heartbeat_at < opened_at then v_setting.minimum_visit
              else heartbeat
            end,
            previous_heartbeat_at,
            opened_at,
            session_started_at
          )
      end as confirmed_since
    from targeted
  ),

  spent as (
    select
      confirmed.*,
      opens_view or is_continued and is_first_heartbeat as is_first_of_view,
      case when is_continued then coalesce(view_key, continued_item_id, 0) end as continued_key,
      -- Null for the last event of a session. The next heartbeat is the later one that confirms the earliest time.
      case
        when lag(occurred_at) over later_in_session is not null
          then greatest(
            least(
              lag(occurred_at) over later_in_session,
              min(confirmed_since) over later_in_session,
              last_action_at + v_setting.longest_gap
            ) - occurred_at,
            interval '0'
          )
      end as gap
    from confirmed
    window later_in_session as (
      partition by person_id, session_number
      order by occurred_at desc, event_id desc
      rows between unbounded preceding and 1 preceding
    )
  ),

  -- The time after a heartbeat of another view than the last one is a gap of the last one: a row for each of the two.
  spread as (
    select
      spent.*,
      unnest(
        case when is_heartbeat and target_number <> view_number then '{t,f}'::boolean[] else '{t}' end
      ) as is_event
    from spent
  ),

  attributed as (
    select
      spread.*,
      case when is_event then target_number else view_number end as attributed_number,
      case when is_event then continued_key end as attributed_key,
      case when not is_event or target_number = view_number then gap end as view_gap
    from spread
  ),

  -- From here on, rows are grouped and not joined, so that the cost is linear regardless of the statistics.
  viewed as (
    select
      person_id,
      session_number,
      attributed_number,
      attributed_key,
      session_id,
      session_started_at,
      (array_agg(event_id) filter (where is_event and is_first_of_view))[1] as event_id,
      min(item_id) filter (where is_event and is_first_of_view) as item_id,
      min(source_id) filter (where is_event and is_first_of_view) as source_id,
      min(identity_id) filter (where is_event and is_first_of_view) as identity_id,
      min(view_key) filter (where is_event and is_first_of_view) as view_key,
      min(coalesce(confirmed_since, occurred_at)) filter (where is_event and is_first_of_view) as started_at,
      max(occurred_at) as last_event_at,
      max(occurred_at + coalesce(view_gap, '0')) as last_sign_at,
      count(*) filter (where is_event) as event_count,
      sum(view_gap) as gaps,
      count(*) filter (where is_event and is_heartbeat) as heartbeat_count,
      max(occurred_at) filter (where is_event and is_heartbeat) as last_heartbeat_at,
      sum(occurred_at - confirmed_since) filter (where is_event) as confirmed,
      min(item_id) filter (where item_number = 1) as entry_item_id,
      max(array[item_number, item_id]) filter (where item_id is not null) as exit_item
    from attributed
    group by person_id, session_number, attributed_number, attributed_key, session_id, session_started_at
  ),

  judged as (
    select
      viewed.*,
      event_id is not null as is_view,
      row_number() over views_in_order as view_number,
      lead(started_at) over views_in_order as next_started_at,
      max(last_event_at) over (partition by person_id, session_number) as session_ended_at,
      -- In a session in which its client sent heartbeats, a view without heartbeats was left before the first one.
      bool_or(heartbeat_count > 0) over (
        partition by person_id, session_number, source_id, identity_id, view_key is not null
      ) as has_heartbeats
    from viewed
    window views_in_order as (
      partition by person_id, session_number
      order by event_id is null, started_at, event_id
    )
  ),

  measured as materialized (
    select
      judged.*,
      greatest(started_at, coalesce(last_heartbeat_at, last_sign_at)) as view_ended_at,
      case
        when is_view then coalesce(case when has_heartbeats then confirmed else gaps end, '0')
      end as engaged,
      case
        when not is_view then null
        when has_heartbeats then 'heartbeats'
        when gaps is not null then 'gaps'
        else 'nothing'
      end as engaged_by
    from judged
  ),

  -- As in the columns `view_…` of the session: null where the value is the usual one.
  encoded as (
    select
      measured.*,
      (extract(epoch from started_at - session_started_at) * 1000000)::bigint as view_start,
      case
        when is_view and view_ended_at <> coalesce(next_started_at, session_ended_at)
          then (extract(epoch from view_ended_at - session_started_at) * 1000000)::bigint
      end as view_end,
      case
        when engaged <> view_ended_at - started_at then (extract(epoch from engaged) * 1000000)::bigint
      end as view_engaged,
      case engaged_by when 'heartbeats' then heartbeat_count::int when 'nothing' then -1 end as view_heartbeats,
      case when attributed_key is not null then true end as view_continued
    from measured
  ),

  stored_session as (
    insert into track.session (
      person_id, session_id, started_at, ended_at, event_count, view_count, engaged, engaged_by, entry_item_id,
      exit_item_id, view_event_ids, view_item_ids, view_starts, view_ends, view_engaged, view_heartbeats,
      view_continued, view_keys
    )
    select
      person_id,
      session_id,
      min(session_started_at),
      max(last_event_at),
      sum(event_count),
      count(*) filter (where is_view and attributed_key is null),
      coalesce(sum(engaged), '0'),
      case
        when bool_or(engaged_by = 'heartbeats') then 'heartbeats'
        when bool_or(engaged_by = 'gaps') then 'gaps'
        else 'nothing'
      end,
      min(entry_item_id),
      (max(exit_item))[2],
      array_agg(event_id order by view_number) filter (where is_view),
      case
        when count(item_id) filter (where is_view) > 0
          then array_agg(item_id order by view_number) filter (where is_view)
      end,
      array_agg(view_start order by view_number) filter (where is_view),
      case when count(view_end) > 0 then array_agg(view_end order by view_number) filter (where is_view) end,
      case when count(view_engaged) > 0 then array_agg(view_engaged order by view_number) filter (where is_view) end,
      case
        when count(view_heartbeats) > 0 then array_agg(view_heartbeats order by view_number) filter (where is_view)
      end,
      case
        when count(view_continued) > 0 then array_agg(view_continued order by view_number) filter (where is_view)
      end,
      case when count(view_key) > 0 then array_agg(view_key order by view_number) filter (where is_view) end
    from encoded
    where session_number > 0
    group by person_id, session_number, session_id
    returning 1
  ),

  stored_period as (
    insert into track.automatic_period as stored (person_id, since, until)
    select person_id, min(session_started_at), max(last_event_at)
    from measured
    where session_number < 0
    group by person_id
    on conflict (person_id) do update
    set since = least(stored.since, excluded.since), until = greatest(stored.until, excluded.until)
  )

  select
    (select count(*) from stored_session),
    (select count(*) from measured where is_view and session_number > 0)
  into v_result.sessions, v_result.page_views;
  v_result.people := (select count(distinct person_id) from unnest(people) as person_id);
  return v_result;
end;
$$;

comment on function track._compute_sessions(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Deletes the sessions and page views in the given periods of people, and recomputes them from the events.
The periods of a person must not overlap, and must not divide a session. Returns the numbers of rows. Continued page
views have the item of their first heartbeat: see `track._continue_views`.
$$;

/* A late event, a merge or a deletion can change the view that later sessions continue: the earlier one of its name. */
create or replace function track._continue_views(
  inout people bigint[],
  inout since timestamptz[],
  inout until timestamptz[],
  setting track.setting
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant track.setting := setting;
begin
  if not exists (
    select
    from track.session
    where session.person_id = any (people)
      and session.view_continued is not null
  ) then
    return;
  end if;

  with continued as materialized (
    select distinct
      page_view.person_id, page_view.session_id, page_view.view_number, page_view.event_id, page_view.item_id,
      page_view.view_key, page_view.started_at, page_view.ended_at, session.ended_at as session_ended_at
    from unnest(people, since, until) as period (person_id, since, until)
    join track.session
      on session.person_id = period.person_id
      and session.view_continued is not null
      and session.ended_at >= period.since
      and session.started_at <= period.until + v_setting.longest_view
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.is_continued
      and page_view.started_at >= period.since
      and page_view.started_at <= period.until + v_setting.longest_view
    where page_view.view_key is not null
  ),

  searched as (
    select
      person_id,
      unnest(range_agg(tstzrange(started_at - v_setting.longest_view, session_ended_at, '[]'))) as period
    from continued
    group by person_id
  ),

  -- The view that each one continues is the last opened one before it, in an order by the times at which an opened
  -- view counts for it.
  ordered as (
    select
      person_id, view_key, session_id, view_number, event_id, item_id, started_at, ended_at, session_ended_at as at,
      true as is_continued
    from continued

    union all

    select
      opened.person_id, opened.view_key, opened.session_id, opened.view_number, opened.event_id, opened.item_id,
      opened.started_at, opened.ended_at, opened.started_at, false
    from searched
    join track.session
      on session.person_id = searched.person_id
      and session.view_keys is not null
      and session.ended_at >= lower(searched.period)
      and session.started_at <= upper(searched.period)
    join track.page_view as opened
      on opened.person_id = session.person_id
      and opened.session_id = session.session_id
      and not opened.is_continued
    where opened.view_key is not null
  ),

  numbered as (
    select
      ordered.*,
      count(*) filter (where not is_continued) over (
        partition by person_id, view_key
        order by at, is_continued, event_id
        rows unbounded preceding
      ) as opened_number
    from ordered
  ),

  found as (
    select
      numbered.*,
      first_value(started_at) over opened as opened_at,
      first_value(item_id) over opened as opened_item_id,
      opened_number > 0 as is_opened
    from numbered
    window opened as (partition by person_id, view_key, opened_number order by is_continued)
  ),

  resolved as (
    select
      found.*,
      coalesce(
        case when is_opened and opened_at >= started_at - v_setting.longest_view then opened_item_id end,
        (
          select event.item_id
          from track.event
          where event.person_id = found.person_id
            and event.occurred_at between found.started_at and found.ended_at
            and event.event_id = found.event_id
        )
      ) as new_item_id
    from found
    where found.is_continued
  ),

  changed as materialized (
    select person_id, session_id, view_number, started_at, ended_at, new_item_id
    from resolved
    where item_id is distinct from new_item_id
  ),

  rewritten as (
    select
      page_view.person_id,
      page_view.session_id,
      array_agg(
        case when changed.view_number is null then page_view.item_id else changed.new_item_id end
        order by page_view.view_number
      ) as item_ids
    from (select distinct person_id, session_id from changed) as affected
    join track.page_view
      on page_view.person_id = affected.person_id
      and page_view.session_id = affected.session_id
    left join changed
      on changed.person_id = page_view.person_id
      and changed.session_id = page_view.session_id
      and changed.view_number = page_view.view_number
    group by page_view.person_id, page_view.session_id
  ),

  stored as (
    update track.session
    set view_item_ids = case when array_remove(rewritten.item_ids, null) <> '{}' then rewritten.item_ids end
    from rewritten
    where session.person_id = rewritten.person_id
      and session.session_id = rewritten.session_id
  )

  select
    _continue_views.people || array_agg(changed.person_id),
    _continue_views.since || array_agg(changed.started_at),
    _continue_views.until || array_agg(changed.ended_at)
  into people, since, until
  from changed;
end;
$$;

comment on function track._continue_views(bigint[], timestamptz[], timestamptz[], track.setting) is $$
Sets the items of continued page views after a change of the sessions in the given periods of people.
Each has the item of the last page view of the same `viewId` that was opened before it, at most
`track.setting.longest_view`, or later in the same session (the clocks of messages may differ), or else of its first
heartbeat. Reads only the sessions within this time after a period, and before the continued page views in them.
Returns the periods, with those of the changed page views.
$$;

/*
 * Sessions are separated by pauses longer than the time-out, so that a change affects only sessions within a time-out
 * of it. These are deleted and recomputed from their events; all others are kept. Periods of changes are widened by the
 * time-out, then to the sessions that they overlap, then merged, so that each session is in at most one period.
 */
create or replace function track._refresh_sessions(most_people int, without bigint[] default '{}')
returns track.refresh_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting track.setting;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_day_people bigint[];
  v_first_days date[];
  v_end_days date[];
  v_activity track.activity[];
  v_result track.refresh_result;
begin
  -- One refresh at a time: two would compute the same sessions.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  select * into v_setting from track.setting;
  perform track._refresh_course_presence();

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct person_id
    from track.stale
    where person_id <> all (_refresh_sessions.without)
    order by person_id
    limit _refresh_sessions.most_people
  );

  with taken as (
    delete from track.stale
    where stale.person_id = any (v_picked)
    returning stale.person_id, stale.since, stale.until
  ),

  widened as (
    select
      taken.person_id,
      taken.since - v_setting.session_timeout as since,
      taken.until + v_setting.session_timeout as until
    from taken
  ),

  touched as (
    select widened.person_id, tstzrange(widened.since, widened.until, '[]') as period
    from widened

    union all

    -- The index is by the end of the session, and most changes are recent: earlier sessions are not read.
    select widened.person_id, tstzrange(session.started_at, session.ended_at, '[]')
    from widened
    join track.session
      on session.person_id = widened.person_id
      and session.ended_at >= widened.since
      and session.started_at <= widened.until
  ),

  merged as (
    select person_id, unnest(range_agg(period)) as period
    from touched
    group by person_id
  )

  select array_agg(person_id), array_agg(lower(period)), array_agg(upper(period))
  into v_people, v_since, v_until
  from merged;

  if v_people is null then
    return row(0, 0, 0)::track.refresh_result;
  end if;

  perform track._convert_page_views(v_picked);

  -- The whole days that may change, also those of continued page views.
  select array_agg(changed.person_id), array_agg(changed.first_day), array_agg(changed.end_day)
  into v_day_people, v_first_days, v_end_days
  from (
    select
      period.person_id,
      min((period.since at time zone 'UTC')::date) as first_day,
      max((
        period.until + case
          when exists (
            select
            from track.session
            where session.person_id = period.person_id
              and session.view_continued is not null
              and session.ended_at >= period.since
              and session.started_at <= period.until + v_setting.longest_view
          ) then v_setting.longest_view
          else interval '0'
        end
      ) at time zone 'UTC')::date + 1 as end_day
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    group by period.person_id
  ) as changed;
  v_activity := array(select track.stored_activity(v_day_people, v_first_days, v_end_days));

  v_result := track._compute_sessions(v_people, v_since, v_until, v_setting);
  select continued.people, continued.since, continued.until
  into v_people, v_since, v_until
  from track._continue_views(v_people, v_since, v_until, v_setting) as continued;
  perform track._refresh_steps(v_day_people, v_first_days, v_end_days);
  perform track._refresh_presence(
    v_activity, array(select track.stored_activity(v_day_people, v_first_days, v_end_days))
  );
  perform track._enqueue('event', v_people, v_since, v_until);
  return v_result;
end;
$$;

comment on function track._refresh_sessions(int, bigint[]) is $$
Refreshes the data that is derived from the events of at most `most_people` people, in the order of their keys.
`without`: people who stay queued.
$$;
--! EndIncluded track/functions/_refresh_sessions.sql

--! Included track/functions/refresh_sessions.sql
create or replace function track.refresh_sessions(most_people int default 2000)
returns track.refresh_result
language plpgsql
volatile
-- A definer: it reads the events of all people and writes sessions and page views, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  perform common.check_count('most_people', refresh_sessions.most_people, 1, 2147483647);
  return track._refresh_sessions(refresh_sessions.most_people);
end;
$$;

comment on function track.refresh_sessions(int) is $$
Refreshes the data that is derived from the events of at most `most_people` people, and queues them for consumers.
These are sessions, page views and engaged times, journeys (`track.step`), presence and sums.
The cost is proportional to the changed periods. The result is the same as that of a computation from scratch, also
after late events and events out of order. Call it until `people` is 0; `track.refresh` also processes the consumers.
Fails when the data of one of them makes it fail; `track.refresh` leaves these people out.
Errors: CF001 for fewer than one person.
$$;

grant execute on function track.refresh_sessions(int) to insights_worker;
--! EndIncluded track/functions/refresh_sessions.sql

--! Included track/functions/refresh.sql
create or replace function track._refresh_people(
  refresh text,
  people bigint[],
  since timestamptz[],
  until timestamptz[],
  out failed bigint[],
  out error text
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant bigint[] := array(select distinct person_id from unnest(people) as person_id order by person_id);
  v_middle constant bigint := v_all[cardinality(v_all) / 2];
  v_half record;
  v_rest record;
begin
  failed := '{}';
  begin
    execute format('select %I.%I($1, $2, $3)', split_part(refresh, '.', 1), split_part(refresh, '.', 2))
    using people, since, until;
    return;
  exception
    -- Errors that the data of one person may cause. Any other error ends the step; the next call tries again.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then
      get stacked diagnostics error = message_text;
  end;
  if cardinality(v_all) = 1 then
    failed := v_all;
    return;
  end if;

  for v_half in
    select
      array_agg(period.person_id) as people,
      array_agg(period.since) as since,
      array_agg(period.until) as until
    from unnest(people, since, until) as period (person_id, since, until)
    group by period.person_id <= v_middle
  loop
    v_rest := track._refresh_people(refresh, v_half.people, v_half.since, v_half.until);
    failed := failed || v_rest.failed;
  end loop;
end;
$$;

comment on function track._refresh_people(text, bigint[], timestamptz[], timestamptz[]) is $$
Calls the refresh function of a consumer for the given periods of people.
When it fails because of the data, the people are halved repeatedly, until those that fail are isolated and the others
are refreshed.
$$;

create or replace function track._refresh_consumer(consumer track.consumer, most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (consumer).consumer;
  v_picked bigint[];
  v_people bigint[];
  v_since timestamptz[];
  v_until timestamptz[];
  v_outcome record;
begin
  -- First without the lock: with an empty queue, the call does not wait and does not block other calls.
  if not exists (select from track.changed where changed.consumer = v_name) then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  -- One refresh at a time: two would write the same rows.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));

  -- An array, not a join, because the statistics of a queue are often out of date.
  v_picked := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = v_name
    order by changed.person_id
    limit most_people
  );
  if v_picked = '{}' then
    return row(v_name, 0, 0, null)::track.refreshed;
  end if;

  with taken as (
    delete from track.changed
    where changed.person_id = any (v_picked)
      and changed.consumer = v_name
    returning changed.person_id, changed.since, changed.until
  ),

  merged as (
    select taken.person_id, unnest(range_agg(tstzrange(taken.since, taken.until, '[]'))) as period
    from taken
    group by taken.person_id
  )

  select
    array_agg(merged.person_id order by merged.person_id, merged.period),
    array_agg(lower(merged.period) order by merged.person_id, merged.period),
    array_agg(upper(merged.period) order by merged.person_id, merged.period)
  into v_people, v_since, v_until
  from merged;

  v_outcome := track._refresh_people((consumer).refresh, v_people, v_since, v_until);

  if v_outcome.failed <> '{}' then
    insert into track.changed (person_id, consumer, since, until)
    select period.person_id, v_name, period.since, period.until
    from unnest(v_people, v_since, v_until) as period (person_id, since, until)
    where period.person_id = any (v_outcome.failed);
    raise warning '% failed for % of % people, such as %: %', (consumer).refresh,
      cardinality(v_outcome.failed), cardinality(v_picked), v_outcome.failed[1], left(v_outcome.error, 100);
  end if;
  return row(
    v_name,
    cardinality(v_picked) - cardinality(v_outcome.failed),
    cardinality(v_outcome.failed),
    left(v_outcome.error, 100)
  )::track.refreshed;
end;
$$;

comment on function track._refresh_consumer(track.consumer, int) is $$
Refreshes at most `most_people` of the people that are queued for a consumer. Those that fail are queued again.
$$;

create or replace function track._refresh_all_sessions(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_failed bigint[] := '{}';
  v_people int;
  v_error text;
begin
  loop
    begin
      v_people := (select sessions.people from track._refresh_sessions(v_most, v_failed) as sessions);
      exit;
    exception
      -- Errors that the data of one person, or those of many people together, may cause.
      when data_exception or integrity_constraint_violation or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := least(
      v_most, (select count(distinct stale.person_id) from track.stale where stale.person_id <> all (v_failed))
    ) / 2;
    if v_most = 0 then
      v_failed := v_failed || (
        select min(stale.person_id) from track.stale where stale.person_id <> all (v_failed)
      );
      raise warning 'the sessions of person % cannot be refreshed: %', v_failed[cardinality(v_failed)],
        left(v_error, 100);
      v_most := most_people;
    end if;
  end loop;
  return row(
    'track.session', v_people, cardinality(v_failed), case when v_failed <> '{}' then left(v_error, 100) end
  )::track.refreshed;
end;
$$;

comment on function track._refresh_all_sessions(int) is $$
Refreshes the sessions of at most `most_people` people.
When that fails because of their data, their number is halved repeatedly, until one person is left who fails; she stays
queued, and the others are refreshed.
$$;

create or replace function track.refresh(most_people int default 2000, step text default null)
returns setof track.refreshed
language plpgsql
volatile
-- A definer: it reads the events of all people and writes derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_consumer track.consumer;
  v_refreshed track.refreshed;
  v_changed bigint;
  v_names constant text[] := array['track.name', 'track.session'] || array(
    select consumer.consumer from track.consumer order by consumer.position
  );
begin
  -- Also with an empty queue, so that a worker that is connected to a standby fails at its first call.
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', 'cannot refresh in a read-only transaction');
  end if;
  perform common.check_count('most_people', refresh.most_people, 1, 2147483647);
  if refresh.step <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no step "%s"', left(refresh.step, 100)),
      coalesce(
        'Did you mean "' || common.nearest_name(refresh.step, v_names) || '"?',
        format('The steps are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;

  -- Alone, because the next steps would only find a part of the events.
  if coalesce(refresh.step, 'track.name') = 'track.name' and exists (select from track.renamed_month) then
    v_changed := track._apply_names(least(refresh.most_people * 50::bigint, 100000), false);
    if v_changed > 0 then
      return next row('track.name', v_changed, 0, null)::track.refreshed;
      return;
    end if;
  end if;

  if coalesce(refresh.step, 'track.session') = 'track.session'
    and (exists (select from track.stale) or exists (select from track.stale_course))
  then
    v_refreshed := track._refresh_all_sessions(refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end if;

  for v_consumer in
    select consumer.*
    from track.consumer
    where coalesce(refresh.step, consumer.consumer) = consumer.consumer
    order by consumer.position
  loop
    v_refreshed := track._refresh_consumer(v_consumer, refresh.most_people);
    if v_refreshed.people + v_refreshed.failed > 0 then
      return next v_refreshed;
    end if;
  end loop;
end;
$$;

comment on function track.refresh(int, text) is $$
Refreshes all data that is derived from changed data of people, for at most `most_people` people.
First the events whose names were changed (`track.name`: at most 50 for each of `most_people`, and 100,000; `people` is
the number of these events, and the call does no other step), then the sessions (`track.session`), then the consumers of
`track.consumer` in their order; `step` restricts it to one of these steps. Returns one row per step that processed
people. Call it until no row has `people` above 0, each call in its own transaction.
The cost is proportional to the changes; a call with an empty queue takes about a millisecond. People whose data makes
a refresh fail are reported and stay queued; the others are refreshed.
Errors: CF001 for an invalid `most_people`, CF002 for an unknown step.
$$;

grant execute on function track.refresh(int, text) to insights_admin, insights_worker;
--! EndIncluded track/functions/refresh.sql

--! Included track/person_sets/person_bit.sql
create or replace function track.person_bit(person_id bigint)
returns bit(4096)
language sql
immutable
strict
parallel safe
return b'1'::bit(4096) >> (person_bit.person_id % 4096)::int;

comment on function track.person_bit(bigint) is $$
@behavior -*
Returns the bit string of one person within its block of 4,096 people.
`bit_or` of it builds the rows of `track.person_set_block`; `get_bit(people, (person_id % 4096)::int)` reads them.
$$;

grant execute on function track.person_bit(bigint) to insights_reader, insights_admin;
--! EndIncluded track/person_sets/person_bit.sql

--! Included track/person_sets/excluded_people.sql
create or replace function track.excluded_people(set_name text, people bigint[])
returns setof bigint
language sql
stable
parallel safe
begin atomic
  select identity.person_id
  from track.identity
  join track.exclusion using (identity_id)
  where identity.person_id = any (excluded_people.people);
end;

comment on function track.excluded_people(text, bigint[]) is $$
@behavior -*
Returns which of the given people are excluded: those with an excluded identity (`track.exclude_person`).
The members of the set `excluded`; see `track.person_set`.
$$;
--! EndIncluded track/person_sets/excluded_people.sql

--! Included track/person_sets/recompute_person_sets.sql
create or replace function track._recompute_person_set(person_set track.person_set, people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (person_set).name;
  v_joined bigint[];
  v_departed bigint[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  with fresh as materialized (
    select
      changed.block,
      coalesce(stored.people, b'0'::bit(4096)) as stored,
      coalesce(stored.people & ~changed.given, b'0'::bit(4096)) | changed.members as people
    from track._person_set_bits(person_set, _recompute_person_set.people) as changed
    left join track.person_set_block as stored on stored.name = v_name and stored.block = changed.block
  ),

  moved as (
    select entry.person_id, get_bit(fresh.people, (entry.person_id % 4096)::int) <> 0 as is_member
    from fresh
    join unnest(_recompute_person_set.people) as entry (person_id)
      on entry.person_id / 4096 = fresh.block
      and get_bit(fresh.people # fresh.stored, (entry.person_id % 4096)::int) <> 0
    where fresh.people <> fresh.stored
  )

  select
    (select array_agg(fresh.block) from fresh where fresh.people <> fresh.stored),
    (select array_agg(fresh.people) from fresh where fresh.people <> fresh.stored),
    array(select distinct moved.person_id from moved where moved.is_member),
    array(select distinct moved.person_id from moved where not moved.is_member)
  into v_blocks, v_people, v_joined, v_departed;

  if v_blocks is null then
    return;
  end if;
  perform track._move_sums(v_name, v_joined, v_departed);

  delete from track.person_set_block
  using unnest(v_blocks, v_people) as fresh (block, people)
  where person_set_block.name = v_name
    and person_set_block.block = fresh.block
    and bit_count(fresh.people) = 0;
  insert into track.person_set_block (name, block, people)
  select v_name, fresh.block, fresh.people
  from unnest(v_blocks, v_people) as fresh (block, people)
  where bit_count(fresh.people) > 0
  on conflict on constraint person_set_block_pkey do update
  set people = excluded.people;
end;
$$;

comment on function track._recompute_person_set(track.person_set, bigint[]) is $$
Recomputes whether the given people belong to a set. The bits of all other people stay as they are.
The sums that contain the people of the set follow (`track._move_sums`).
$$;

create or replace function track.recompute_person_sets(consumer text, people bigint[], set_name text default null)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- One writer at a time, because a block is read before it is written. track.refresh holds the same lock.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  perform track._recompute_person_set(person_set, recompute_person_sets.people)
  from track.person_set
  where person_set.consumer = recompute_person_sets.consumer
    and person_set.name = coalesce(recompute_person_sets.set_name, person_set.name);
end;
$$;

comment on function track.recompute_person_sets(text, bigint[], text) is $$
@behavior -*
Recomputes which of the given people belong to the sets of a consumer, or to one of them.
A room whose sets are derived from its own rollups registers a consumer after that of the rollup, whose refresh
function calls this one with the name of the consumer.
$$;
--! EndIncluded track/person_sets/recompute_person_sets.sql

--! Included track/presence/moved_people.sql
create or replace function track.moved_people()
returns setof bigint
language plpgsql
stable
parallel safe
-- A definer: the functions of the members are for the owner, and are called for the people that are queued.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_queued constant bigint[] := array(
    select distinct changed.person_id
    from track.changed
    where changed.consumer = 'track.person_set'
      and changed.person_id <> 0
  );
begin
  if v_queued = '{}' then
    return;
  end if;

  return query
  select distinct queued.person_id
  from (
    select bits.block, coalesce(stored.people & bits.given, b'0'::bit(4096)) # bits.members as people
    from track.person_set
    cross join lateral track._person_set_bits(person_set, v_queued) as bits
    left join track.person_set_block as stored on stored.name = person_set.name and stored.block = bits.block
    where person_set.name in ('counted', 'excluded')
  ) as moved
  join unnest(v_queued) as queued (person_id)
    on queued.person_id / 4096 = moved.block
    and get_bit(moved.people, (queued.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track.moved_people() is $$
@behavior -*
Returns the people who joined or left the sets `counted` or `excluded` since the last refresh of the sets.
The sums of `track.presence`, `track.item_month` and `track.item_day` follow with that refresh.
$$;

grant execute on function track.moved_people() to insights_reader, insights_admin;
--! EndIncluded track/presence/moved_people.sql

--! Included track/presence/queued_days.sql
create or replace function track.queued_days(
  first_day date,
  end_day date,
  of_people bigint[] default null,
  out people bigint[],
  out first_days date[],
  out end_days date[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the length of the queues.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := queued_days.first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := queued_days.end_day::timestamp at time zone 'UTC';
begin
  if v_since >= v_until then
    return;
  end if;

  with queued as (
    select
      stale.person_id,
      greatest((stale.since at time zone 'UTC')::date, queued_days.first_day) as first_day,
      least((stale.until at time zone 'UTC')::date + 1, queued_days.end_day) as end_day
    from track.stale
    where stale.since < v_until
      and stale.until >= v_since
      and (queued_days.of_people is null or stale.person_id = any (queued_days.of_people))

    union all

    -- The sums contain people as of the last refresh of the sets.
    select moved.person_id, queued_days.first_day, queued_days.end_day
    from track.moved_people() as moved (person_id)
    where queued_days.of_people is null or moved.person_id = any (queued_days.of_people)
  ),

  merged as (
    select queued.person_id, min(queued.first_day) as first_day, max(queued.end_day) as end_day
    from queued
    group by queued.person_id
  )

  select array_agg(merged.person_id), array_agg(merged.first_day), array_agg(merged.end_day)
  into people, first_days, end_days
  from merged;
end;
$$;

comment on function track.queued_days(date, date, bigint[]) is $$
@behavior -*
Returns the days between two (`end_day` exclusive) for which presence and sums are not refreshed yet.
One position per person: the first day, and the day after the last one. Null when there are none. `of_people`: only
these people; null: all.
A reader of these tables subtracts `track.stored_activity` of these days and adds `track.event_activity`, so that its
result is the same before and after a refresh.
$$;

grant execute on function track.queued_days(date, date, bigint[]) to insights_reader, insights_admin;
--! EndIncluded track/presence/queued_days.sql

--! Included track/presence/activity_of.sql
create or replace function track.activity_of(people bigint[], first_day date, end_day date)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := coalesce(
    activity_of.people,
    array(select person.person_id from track.person)
  );
  v_queued record;
begin
  v_queued := track.queued_days(activity_of.first_day, activity_of.end_day, activity_of.people);

  -- For a queued person: the days before and after those that are queued.
  return query
  with kept as (
    select entry.person_id, activity_of.first_day, coalesce(queued.first_day, activity_of.end_day) as end_day
    from unnest(v_people) as entry (person_id)
    left join unnest(v_queued.people, v_queued.first_days) as queued (person_id, first_day) using (person_id)

    union all

    select queued.person_id, queued.end_day, activity_of.end_day
    from unnest(v_queued.people, v_queued.end_days) as queued (person_id, end_day)
  ),

  listed as (
    select
      array_agg(kept.person_id) as people,
      array_agg(kept.first_day) as first_days,
      array_agg(kept.end_day) as end_days
    from kept
    where kept.first_day < kept.end_day
  )

  select stored.*
  from listed
  cross join lateral track.stored_activity(listed.people, listed.first_days, listed.end_days) as stored;

  return query
  select computed.*
  from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as computed;
end;
$$;

comment on function track.activity_of(bigint[], date, date) is $$
@behavior -*
Returns the activity of people on the days between two (`end_day` exclusive), with the events that are not refreshed.
`people` null: all. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function track.activity_of(bigint[], date, date) to insights_reader, insights_admin;
--! EndIncluded track/presence/activity_of.sql

--! Included track/trust/_raw_activity.sql
create or replace function track._raw_activity(
  first_person bigint,
  last_person bigint,
  first_day date,
  end_day date,
  items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- The plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := end_day::timestamp at time zone 'UTC';
begin
  return query
  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from track.event
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.person_id between first_person and last_person
    and event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (items is null or event.item_id = any (items))
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id, (page_view.started_at at time zone 'UTC')::date, 0, page_view.item_id, 0,
    sum(page_view.engaged), 0
  from track.session
  join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
  where session.person_id between first_person and last_person
    and session.ended_at >= v_since
    and session.started_at < v_until
    and page_view.started_at >= v_since
    and page_view.started_at < v_until
    and (items is null or session.view_item_ids && items and page_view.item_id = any (items))
  group by 1, 2, 4;
end;
$$;

comment on function track._raw_activity(bigint, bigint, date, date, bigint[]) is $$
Returns the activity of a range of people, computed from their events and page views, for `track.check_rollups`.
It shares no code with the refresh, so that an error of the refresh is found. `items`: only these; null: everything.
$$;

create or replace function track._unrefreshed_people(first_person bigint, last_person bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select stale.person_id
    from track.stale
    where stale.person_id between first_person and last_person
    union
    select changed.person_id
    from track.changed
    where changed.consumer = 'track.person_set'
      and changed.person_id between first_person and last_person
  );
end;
$$;

comment on function track._unrefreshed_people(bigint, bigint) is $$
Returns the people of a range who are queued, for the sessions or for the sets of people.
$$;

create or replace function track._unrefreshed_activity(
  people bigint[],
  first_day date,
  end_day date
)
returns setof track.activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_activity(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_activity(bigint[], date, date) is $$
Returns the activity of queued people that the rollups still contain, whose cells are not compared.
$$;

create or replace function track._rollup_people(first_person bigint, last_person bigint)
returns table (person_id bigint, is_excluded boolean, is_counted boolean)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select
    identity.person_id,
    bool_or(exclusion.identity_id is not null),
    bool_or(identity.kind = 'user') and not bool_or(exclusion.identity_id is not null)
  from track.identity
  left join track.exclusion on exclusion.identity_id = identity.identity_id
  where identity.person_id between first_person and last_person
  group by identity.person_id;
end;
$$;

comment on function track._rollup_people(bigint, bigint) is $$
Returns whether people are excluded or counted, from their identities and not from the stored sets.
$$;
--! EndIncluded track/trust/_raw_activity.sql

--! Included track/trust/_check_steps.sql
create or replace function track._check_steps(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_result track.rollup_comparison;
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  fresh as (
    select
      event.person_id,
      event.event_type_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(event.occurred_at order by event.occurred_at, coalesce(event.item_id, 0)) as occurred_at,
      array_agg(coalesce(event.item_id, 0)::int order by event.occurred_at, coalesce(event.item_id, 0)) as item_ids
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
    group by 1, 2, 3, 4
  ),

  stored as (
    select
      step.*,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until
    from track.step
    where step.person_id between v_first and v_last
      and step.since > _check_steps.month - 366
      and step.since < v_end
      and step.person_id <> all ((select queued.people from queued)::bigint[])
  ),

  compared as (
    select
      person_id, event_type_id, is_automatic, since,
      coalesce(stored.occurred_at[:stored.before], '{}') || coalesce(fresh.occurred_at, '{}')
        || coalesce(stored.occurred_at[stored.until + 1:], '{}') as occurred_at,
      coalesce(stored.item_ids[:stored.before], '{}') || coalesce(fresh.item_ids, '{}')
        || coalesce(stored.item_ids[stored.until + 1:], '{}') as item_ids,
      stored.occurred_at as stored_at,
      stored.item_ids as stored_ids
    from stored
    full join fresh using (person_id, event_type_id, is_automatic, since)
    where fresh.person_id is not null
      or stored.before < stored.until
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.occurred_at, compared.item_ids) is distinct from (compared.stored_at, compared.stored_ids)
  ),

  deleted as (
    delete from track.step
    using differing
    where is_repair
      and differing.occurred_at = '{}'
      and step.person_id = differing.person_id
      and step.event_type_id = differing.event_type_id
      and step.is_automatic = differing.is_automatic
      and step.since = differing.since
  ),

  written as (
    insert into track.step (person_id, event_type_id, is_automatic, since, occurred_at, item_ids)
    select
      differing.person_id, differing.event_type_id, differing.is_automatic, differing.since, differing.occurred_at,
      differing.item_ids
    from differing
    where is_repair
      and differing.occurred_at <> '{}'
    on conflict on constraint step_pkey do update
    set occurred_at = excluded.occurred_at, item_ids = excluded.item_ids
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('person %s, event type %s, %s', differing.person_id, differing.event_type_id, differing.since)
      from differing
      order by differing.person_id, differing.event_type_id, differing.since
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_steps(date, int, boolean) is $$
Compares `track.step` with the events of a month and a block of people. `is_repair`: writes what the events give.
$$;
--! EndIncluded track/trust/_check_steps.sql

--! Included track/trust/_check_presence.sql
create or replace function track._check_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_nobody constant bit(4096) := b'0'::bit(4096);
  v_one constant bit(4096) := b'1'::bit(4096);
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select
      listed.people,
      (
        select coalesce(bit_or(v_one >> (person_id % 4096)::int), v_nobody)
        from unnest(listed.people) as person_id
      ) as bits
    from (select track._unrefreshed_people(v_first, v_last)) as listed (people)
  ),

  raw as materialized (
    select activity.*, activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(v_first, v_last, _check_presence.month, v_end) as activity
    where activity.event_count > 0
  ),

  typed as (
    select raw.person_id, raw.day, raw.is_queued, form.event_type_id, form.event_count
    from raw
    cross join lateral (
      values (raw.event_type_id, raw.event_count), (0, raw.event_count - raw.automatic_count)
    ) as form (event_type_id, event_count)
    where form.event_count > 0
  ),

  fresh as (
    select
      typed.event_type_id,
      typed.day,
      coalesce(
        bit_or(v_one >> (typed.person_id % 4096)::int) filter (where typed.person_id <> 0 and not typed.is_queued),
        v_nobody
      ) as people,
      coalesce(sum(typed.event_count) filter (where person.is_excluded is not true), 0)::int as event_count,
      coalesce(sum(typed.event_count) filter (where person.is_counted), 0)::int as counted_count,
      bool_or(typed.is_queued) as is_queued
    from typed
    left join track._rollup_people(v_first, v_last) as person on person.person_id = typed.person_id
    group by typed.event_type_id, typed.day
  ),

  left_out as (
    select distinct form.event_type_id, activity.day
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_presence.month, v_end) as activity
    cross join lateral (values (activity.event_type_id), (0)) as form (event_type_id)
    where activity.event_count > 0
  ),

  stored as (
    select presence.*
    from track.presence
    where presence.day >= _check_presence.month
      and presence.day < v_end
      and presence.block = _check_presence.block
  ),

  compared as (
    select
      event_type_id,
      day,
      stored.people as stored_people,
      stored.event_count as stored_count,
      stored.counted_count as stored_counted,
      coalesce(stored.people, v_nobody) & queued.bits | coalesce(fresh.people, v_nobody) as people,
      -- Numbers that contain events of queued people are not compared.
      case
        when fresh.is_queued or left_out.day is not null then coalesce(stored.event_count, 0)
        else coalesce(fresh.event_count, 0)
      end as event_count,
      case
        when fresh.is_queued or left_out.day is not null then coalesce(stored.counted_count, 0)
        else coalesce(fresh.counted_count, 0)
      end as counted_count
    from stored
    full join fresh using (event_type_id, day)
    left join left_out using (event_type_id, day)
    cross join queued
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (
        coalesce(compared.stored_people, v_nobody), coalesce(compared.stored_count, 0),
        coalesce(compared.stored_counted, 0)
      )
  ),

  deleted as (
    delete from track.presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and presence.event_type_id = differing.event_type_id
      and presence.day = differing.day
      and presence.block = _check_presence.block
  ),

  written as (
    insert into track.presence (event_type_id, day, block, people, event_count, counted_count)
    select
      differing.event_type_id, differing.day, _check_presence.block, differing.people, differing.event_count,
      differing.counted_count
    from differing
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
    on conflict on constraint presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('event type %s, %s, block %s', differing.event_type_id, differing.day, _check_presence.block)
      from differing
      order by differing.event_type_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_presence(date, int, boolean) is $$
Compares `track.presence` with the events of a month and a block of people. `is_repair`: writes what the events give.
$$;
--! EndIncluded track/trust/_check_presence.sql

--! Included track/trust/_check_item_months.sql
create or replace function track._check_item_months(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_part constant int := block / 8;
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  by_person as (
    select
      activity.item_id,
      (activity.person_id % 32768)::smallint as person,
      bit_or(1 << (extract(day from activity.day)::int - 1)) as days
    from track._raw_activity(v_first, v_last, _check_item_months.month, v_end) as activity
    where activity.item_id is not null
      and activity.person_id <> 0
      and activity.person_id <> all ((select queued.people from queued)::bigint[])
    group by activity.item_id, activity.person_id
  ),

  fresh as (
    select
      by_person.item_id,
      array_agg(by_person.person order by by_person.person) as people,
      array_agg(by_person.days order by by_person.person) as days
    from by_person
    group by by_person.item_id
  ),

  listed as (
    select
      item_month.item_id, entry.person, entry.days,
      entry.person / 4096 = _check_item_months.block % 8
        and v_part::bigint * 32768 + entry.person <> all ((select queued.people from queued)::bigint[]) as is_compared
    from track.item_month
    cross join unnest(item_month.people, item_month.days) as entry (person, days)
    where item_month.month = _check_item_months.month
      and item_month.part = v_part
  ),

  stored as (
    select
      listed.item_id,
      array_agg(listed.person order by listed.person) filter (where listed.is_compared) as people,
      array_agg(listed.days order by listed.person) filter (where listed.is_compared) as days,
      array_agg(listed.person) filter (where not listed.is_compared) as other_people,
      array_agg(listed.days) filter (where not listed.is_compared) as other_days
    from listed
    group by listed.item_id
  ),

  compared as (
    select
      item_id, stored.people as stored_people, stored.days as stored_days, stored.other_people, stored.other_days,
      fresh.people, fresh.days
    from stored
    full join fresh using (item_id)
    where stored.people is not null
      or fresh.people is not null
  ),

  differing as materialized (
    select
      compared.item_id,
      combined.people,
      combined.days
    from compared
    cross join lateral (
      select
        array_agg(entry.person order by entry.person) as people,
        array_agg(entry.days order by entry.person) as days
      from (
        select * from unnest(compared.people, compared.days) as kept (person, days)
        union all
        select * from unnest(compared.other_people, compared.other_days) as other (person, days)
      ) as entry
    ) as combined
    where (compared.people, compared.days) is distinct from (compared.stored_people, compared.stored_days)
  ),

  deleted as (
    delete from track.item_month
    using differing
    where is_repair
      and differing.people is null
      and item_month.item_id = differing.item_id
      and item_month.month = _check_item_months.month
      and item_month.part = v_part
  ),

  written as (
    -- The sums of a row that was missing are written by the check of the sums.
    insert into track.item_month (item_id, month, part, people, days, event_count, engaged)
    select
      differing.item_id, _check_item_months.month, v_part, differing.people, differing.days, 0, interval '0'
    from differing
    where is_repair
      and differing.people is not null
    on conflict on constraint item_month_pkey do update
    set people = excluded.people, days = excluded.days
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s, block %s', min(differing.item_id), _check_item_months.month, _check_item_months.block)
      from differing
      having count(*) > 0
    ),
    array(select differing.item_id from differing order by differing.item_id limit 1000)
  into v_result.checked, v_result.differing, v_result.example, v_result.items;
  return v_result;
end;
$$;

comment on function track._check_item_months(date, int, boolean) is $$
Compares the people and days of `track.item_month` with the events of a month and a block of people.
`is_repair`: writes what the events give.
$$;
--! EndIncluded track/trust/_check_item_months.sql

--! Included track/trust/_check_course_presence.sql
create or replace function track._check_course_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_one constant bit(4096) := b'1'::bit(4096);
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  by_person as (
    select
      course.item_id,
      (activity.person_id % 4096)::smallint as member,
      bit_or(1 << (extract(day from activity.day)::int - 1)) as days
    from track._raw_activity(v_first, v_last, _check_course_presence.month, v_end) as activity
    join track.item_ancestor as ancestor on ancestor.item_id = activity.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where activity.person_id <> 0
      and activity.person_id <> all ((select queued.people from queued)::bigint[])
    group by course.item_id, activity.person_id
  ),

  stored as (
    select course_presence.*
    from track.course_presence
    where course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  -- The rows as they should be: queued people as they are stored, all others from the events.
  expected as (
    select
      entry.item_id,
      bit_or(v_one >> entry.member) as people,
      array_agg(entry.member order by entry.member) as members,
      array_agg(entry.days order by entry.member) as days
    from (
      select by_person.item_id, by_person.member, by_person.days
      from by_person
      union all
      select stored.item_id, listed.member, listed.days
      from stored
      cross join unnest(stored.members, stored.days) as listed (member, days)
      where v_first + listed.member = any ((select queued.people from queued)::bigint[])
    ) as entry
    group by entry.item_id
  ),

  compared as (
    select
      item_id, expected.people, expected.members, expected.days,
      (expected.people, expected.members, expected.days) is distinct from (stored.people, stored.members, stored.days)
        as is_different
    from stored
    full join expected using (item_id)
    -- Queued courses are recomputed by the next refresh.
    where item_id not in (select stale_course.item_id from track.stale_course)
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.is_different
  ),

  deleted as (
    delete from track.course_presence
    using differing
    where is_repair
      and differing.people is null
      and course_presence.item_id = differing.item_id
      and course_presence.month = _check_course_presence.month
      and course_presence.block = _check_course_presence.block
  ),

  written as (
    insert into track.course_presence (item_id, month, block, people, members, days)
    select
      differing.item_id, _check_course_presence.month, _check_course_presence.block, differing.people,
      differing.members, differing.days
    from differing
    where is_repair
      and differing.people is not null
    on conflict on constraint course_presence_pkey do update
    set people = excluded.people, members = excluded.members, days = excluded.days
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format(
        'course %s, %s, block %s', min(differing.item_id), _check_course_presence.month, _check_course_presence.block
      )
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_course_presence(date, int, boolean) is $$
Compares `track.course_presence` with the events of a month and a block of people.
`is_repair`: writes what the events give.
$$;
--! EndIncluded track/trust/_check_course_presence.sql

--! Included track/trust/_check_item_sums.sql
create or replace function track._check_item_days(day date, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(0, 9223372036854775807) as people
  ),

  raw as materialized (
    select
      activity.person_id, activity.item_id, activity.event_count, activity.engaged,
      activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(0, 9223372036854775807, _check_item_days.day, _check_item_days.day + 1) as activity
    where activity.item_id is not null

    union all

    select activity.person_id, activity.item_id, 0, interval '0', true
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_item_days.day, _check_item_days.day + 1) as activity
    where activity.item_id is not null
  ),

  fresh as (
    select
      item.item_id,
      form.with_parts,
      coalesce(sum(raw.event_count) filter (where person.is_counted), 0)::int as event_count,
      (count(distinct raw.person_id) filter (where person.is_counted))::int as person_count,
      coalesce(sum(raw.engaged) filter (where person.is_counted), interval '0') as engaged,
      bool_or(raw.is_queued) as is_queued
    from raw
    join track.item_ancestor as ancestor on ancestor.item_id = raw.item_id
    join track.item on item.item_id = ancestor.ancestor_item_id
    cross join (values (false), (true)) as form (with_parts)
    left join track._rollup_people(0, 9223372036854775807) as person on person.person_id = raw.person_id
    where case when form.with_parts then item.kind = 'course' else ancestor.depth = 0 end
    group by item.item_id, form.with_parts
  ),

  compared as (
    select
      item_id, with_parts,
      row(stored.event_count, stored.person_count, stored.engaged) as stored_sums,
      fresh.event_count, fresh.person_count, fresh.engaged
    from (
      select item_day.*
      from track.item_day
      where item_day.day = _check_item_days.day
    ) as stored
    full join (select fresh.* from fresh where fresh.person_count > 0 or fresh.is_queued) as fresh
      using (item_id, with_parts)
    -- Sums that contain queued people are not compared, nor queued courses.
    where fresh.is_queued is not true
      and (not with_parts or item_id not in (select stale_course.item_id from track.stale_course))
  ),

  differing as materialized (
    select compared.*
    from compared
    where row(compared.event_count, compared.person_count, compared.engaged) is distinct from compared.stored_sums
  ),

  deleted as (
    delete from track.item_day
    using differing
    where is_repair
      and differing.person_count is null
      and item_day.item_id = differing.item_id
      and item_day.with_parts = differing.with_parts
      and item_day.day = _check_item_days.day
  ),

  written as (
    insert into track.item_day (day, item_id, with_parts, event_count, person_count, engaged)
    select
      _check_item_days.day, differing.item_id, differing.with_parts, differing.event_count, differing.person_count,
      differing.engaged
    from differing
    where is_repair
      and differing.person_count > 0
    on conflict on constraint item_day_pkey do update
    set
      event_count = excluded.event_count,
      person_count = excluded.person_count,
      engaged = excluded.engaged
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.item_id), _check_item_days.day)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_item_days(date, boolean) is $$
Compares `track.item_day` with the events of a day, of all items. `is_repair`: writes what the events give.
$$;

create or replace function track._check_item_sums(month date, items bigint[], is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_end constant date := (month + interval '1 month')::date;
  v_result track.rollup_comparison;
begin
  with queued as materialized (
    select track._unrefreshed_people(0, 9223372036854775807) as people
  ),

  raw as (
    select
      activity.person_id, activity.item_id, activity.event_count, activity.engaged,
      activity.person_id = any ((select queued.people from queued)::bigint[]) as is_queued
    from track._raw_activity(0, 9223372036854775807, _check_item_sums.month, v_end, items) as activity

    union all

    select activity.person_id, activity.item_id, 0, interval '0', true
    from queued
    cross join track._unrefreshed_activity(queued.people, _check_item_sums.month, v_end) as activity
    where activity.item_id = any (items)
  ),

  fresh as (
    select
      raw.item_id,
      (raw.person_id / 32768)::int as part,
      coalesce(sum(raw.event_count) filter (where person.is_counted), 0)::int as event_count,
      coalesce(sum(raw.engaged) filter (where person.is_counted), interval '0') as engaged,
      bool_or(raw.is_queued) as is_queued
    from raw
    left join track._rollup_people(0, 9223372036854775807) as person on person.person_id = raw.person_id
    group by 1, 2
  ),

  compared as (
    select
      item_id, part, item_month.event_count as stored_count, item_month.engaged as stored_engaged,
      coalesce(fresh.event_count, 0) as event_count,
      coalesce(fresh.engaged, interval '0') as engaged
    from track.item_month
    left join fresh using (item_id, part)
    where item_month.month = _check_item_sums.month
      and item_month.item_id = any (items)
      and fresh.is_queued is not true
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.event_count, compared.engaged) is distinct from (compared.stored_count, compared.stored_engaged)
  ),

  written as (
    update track.item_month
    set event_count = differing.event_count, engaged = differing.engaged
    from differing
    where is_repair
      and item_month.item_id = differing.item_id
      and item_month.month = _check_item_sums.month
      and item_month.part = differing.part
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.item_id), _check_item_sums.month)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_item_sums(date, bigint[], boolean) is $$
Compares the sums of `track.item_month` with the events of items in a month. `is_repair`: writes what the events give.
The rows themselves are compared by `track._check_item_months`.
$$;
--! EndIncluded track/trust/_check_item_sums.sql

--! Included track/trust/check_rollups.sql
/*
 * A check compares the rows of a month and a block of 4,096 people. The next check takes the next block, and after the
 * last one the next month, so that all rows are compared in turn. Sums of all people are compared for the day of the
 * month whose last check is the oldest, and for some items of the month.
 */
create or replace function track._next_check(out month date, out block int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last track.rollup_check;
  v_months date[];
  v_newest bigint;
begin
  select * into v_last from track.rollup_check order by rollup_check.check_id desc limit 1;
  v_newest := coalesce((select max(person.person_id) from track.person), 0) / 4096;
  -- The months of the partitions, and those of rows without events.
  v_months := array(
    select to_date(substr(partition.relname, 7), 'YYYY_MM')
    from pg_catalog.pg_inherits
    join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
    where pg_inherits.inhparent = 'track.event'::regclass
      and partition.relname ~ '^event_\d{4}_\d\d$'
      and to_date(substr(partition.relname, 7), 'YYYY_MM') <= (now() at time zone 'UTC')::date + 31
    union
    select item_month.month
    from track.item_month
    order by 1
  );
  if v_last.month = any (v_months) and v_last.block < v_newest then
    month := v_last.month;
    block := (
      select min(person.person_id) / 4096
      from track.person
      where person.person_id >= (v_last.block + 1)::bigint * 4096
    );
  else
    -- From the latest month back, and then again from the latest.
    month := coalesce(
      (select max(listed) from unnest(v_months) as listed where listed < v_last.month),
      v_months[cardinality(v_months)]
    );
    block := 0;
  end if;
end;
$$;

comment on function track._next_check() is $$
Returns the month and the block of people of the next check, from the last one. Null without any month of events.
$$;

create or replace function track._check_block(month date, block int)
returns setof track.rollup_check
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_check_id constant bigint := coalesce((select max(rollup_check.check_id) from track.rollup_check), 0) + 1;
  v_day date;
  v_items bigint[];
  v_rollup text;
  v_started timestamptz;
  v_found track.rollup_comparison;
  v_row track.rollup_check;
begin
  v_day := (
    select listed::date
    from generate_series(_check_block.month, _check_block.month + interval '1 month - 1 day', '1 day') as listed
    left join track.rollup_check as earlier on earlier.rollup = 'track.item_day' and earlier.day = listed::date
    group by listed
    order by max(earlier.check_id) nulls first, listed
    limit 1
  );
  v_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.month = _check_block.month
    group by item_month.item_id
    order by random()
    limit 100
  );

  foreach v_rollup in array array[
    'track.step', 'track.presence', 'track.item_month', 'track.item_month sums', 'track.course_presence',
    'track.item_day'
  ]
  loop
    v_started := clock_timestamp();
    -- First without the lock of the refresh. Under it, the differences are those that no refresh is about to change.
    for v_attempt in 1 .. 2 loop
      v_found := case v_rollup
        when 'track.step' then track._check_steps(month, block, v_attempt = 2)
        when 'track.presence' then track._check_presence(month, block, v_attempt = 2)
        when 'track.item_month' then track._check_item_months(month, block, v_attempt = 2)
        when 'track.item_month sums' then track._check_item_sums(month, v_items, v_attempt = 2)
        when 'track.course_presence' then track._check_course_presence(month, block, v_attempt = 2)
        else track._check_item_days(v_day, v_attempt = 2)
      end;
      exit when v_found.differing = 0;
      perform pg_advisory_xact_lock(hashtext('track.refresh'));
    end loop;
    v_items := v_items || coalesce(v_found.items, '{}');

    insert into track.rollup_check (
      check_id, rollup, checked_at, month, block, day, checked, differing, example, duration
    )
    values (
      v_check_id, v_rollup, v_started, month, block, case when v_rollup = 'track.item_day' then v_day end,
      v_found.checked, v_found.differing, v_found.example, clock_timestamp() - v_started
    )
    returning * into v_row;
    return next v_row;
  end loop;
end;
$$;

comment on function track._check_block(date, int) is $$
Compares the rollups of a month and a block of people with the events, repairs what differs, and records the result.
$$;

create or replace function track.check_rollups(checks int default 1)
returns setof track.rollup_check
language plpgsql
volatile
-- A definer: it reads the events of all people and repairs derived tables, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
set jit to off
as $$
declare
  v_next record;
begin
  perform common.check_count('checks', check_rollups.checks, 1, 100);
  -- One at a time: two would check the same block.
  perform pg_advisory_xact_lock(hashtext('track.check_rollups'));
  for v_check in 1 .. check_rollups.checks loop
    -- With a long queue most cells could not be compared, and the work would not be bounded.
    if (select count(*) from (select from track.stale limit 10001) as queued) > 10000
      or (select count(*) from (select from track.changed limit 10001) as queued) > 10000
    then
      exit;
    end if;
    v_next := track._next_check();
    exit when v_next.month is null;
    return query select checked.* from track._check_block(v_next.month, v_next.block) as checked;
  end loop;
  delete from track.rollup_check
  where rollup_check.check_id <= (select max(latest.check_id) from track.rollup_check as latest) - 10000;
end;
$$;

comment on function track.check_rollups(int) is $$
@behavior -*
Compares a sample of the rollups with the events, repairs what differs, and records the result; one row per rollup.
These are `track.step`, `presence`, `item_month`, `course_presence` and `item_day`. One check is a month and 4,096
people; each takes the next ones, so that all are compared in turn. What is queued for a refresh is not compared, and
nothing is checked while more than 10,000 changes are queued. `differing` is the number of cells that were wrong: they
are written again from the events. `track.rollup_trust` summarizes the results.
From the first difference on, refreshes wait for the end of the transaction: prefer many calls to many checks.
Errors: CF001 for fewer than one check, or more than 100.
$$;

grant execute on function track.check_rollups(int) to insights_admin, insights_worker;
--! EndIncluded track/trust/check_rollups.sql

--! Included track/trust/rollup_trust.sql
create or replace function track.rollup_trust(checks int default 1000)
returns setof track.rollup_trust
language plpgsql
stable
-- A definer: the rows contain keys of people, which analysts may not read; the result does not.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform common.check_count('checks', rollup_trust.checks, 1, 10000);
  return query
  with latest as (
    select rollup_check.*
    from track.rollup_check
    where rollup_check.check_id > (select max(last.check_id) from track.rollup_check as last) - rollup_trust.checks
  )

  select
    coalesce(latest.rollup, 'all'),
    sum(latest.checked)::bigint,
    sum(latest.differing)::bigint,
    sum(latest.checked - latest.differing)::float8 / nullif(sum(latest.checked), 0)::float8,
    max(latest.checked_at),
    max(latest.checked_at) filter (where latest.differing > 0)
  from latest
  group by grouping sets ((latest.rollup), ())
  having count(*) > 0
  order by grouping(latest.rollup), latest.rollup;
end;
$$;

comment on function track.rollup_trust(int) is $$
@behavior -*
Returns the trust score of each rollup, and of `all`, over the last checks of `track.check_rollups`.
The score is the share of compared cells that agreed with the events: 1 when all did, null when none was compared.
Errors: CF001 for fewer than one check, or more than 10,000.
$$;

grant execute on function track.rollup_trust(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded track/trust/rollup_trust.sql

--! Included track/functions/sync_items.sql
create or replace function track._store_items(items jsonb, newest_known bigint)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_renamed bigint[];
  v_result track.sync_result;
begin
  select item.external_id, item.kind, item.parent into v_bad
  from jsonb_to_recordset(items) as item (external_id text, kind text, parent text, attributes jsonb)
  where coalesce(length(item.external_id), 0) not between 1 and 512
    or coalesce(item.kind, '') !~ '^[a-z][a-z0-9_]{0,62}$'
    or item.parent = item.external_id
    or length(item.parent) not between 1 and 512
    or jsonb_typeof(item.attributes) <> 'object'
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'item "%s" of kind "%s" with parent "%s" is invalid',
        left(v_bad.external_id, 100),
        left(v_bad.kind, 100),
        left(v_bad.parent, 100)
      ),
      'An item needs an external_id of 1 to 512 characters and a kind in lower case, such as course. The parent is '
        || 'null or another item; attributes are null or a JSON object.'
    );
  end if;

  with given as (
    select item.external_id from jsonb_to_recordset(items) as item (external_id text)
    union
    select item.parent from jsonb_to_recordset(items) as item (parent text)
  )
  insert into track.item (external_id)
  select external_id
  from given
  where external_id is not null
    and not exists (select from track.item where item.external_id = given.external_id)
  order by external_id
  on conflict (external_id) do nothing;

  -- In the order of track.ingest, to avoid deadlocks.
  perform item.item_id
  from track.item
  where item.item_id = any (array(
    select unnest(array[known.item_id, known.merged_item_id])
    from jsonb_to_recordset(items) as given (external_id text)
    join track.item as known on known.external_id = given.external_id
  ))
  order by item.item_id
  for no key update;

  v_renamed := track._describe_names(
    array(
      select row(
        item.item_id, given.kind, given.title, parent.item_id, given.url, given.language, given.attributes,
        given.available_from, given.available_until, given.due_at
      )::track.named_item
      from jsonb_to_recordset(items) as given (
        external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
        available_from timestamptz, available_until timestamptz, due_at timestamptz
      )
      join track.item on item.external_id = given.external_id
      left join track.item as parent on parent.external_id = given.parent
    ),
    true
  );

  with given as materialized (
    select item.*, coalesce(parent.merged_item_id, parent.item_id) as parent_item_id
    from jsonb_to_recordset(items) as item (
      external_id text, kind text, title text, parent text, url text, language text, attributes jsonb,
      available_from timestamptz, available_until timestamptz, due_at timestamptz
    )
    left join track.item as parent on parent.external_id = item.parent
  ),
  changed as (
    update track.item
    set
      kind = given.kind,
      title = coalesce(given.title, item.title),
      parent_item_id = coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id),
      url = coalesce(given.url, item.url),
      language = coalesce(given.language, item.language),
      attributes = coalesce(given.attributes, item.attributes),
      available_from = coalesce(given.available_from, item.available_from),
      available_until = coalesce(given.available_until, item.available_until),
      due_at = coalesce(given.due_at, item.due_at),
      updated_at = now()
    from given
    where item.external_id = given.external_id
      -- Not "is null": without statistics, the planner would expect few rows, and compare each pair.
      and num_nulls(item.merged_item_id) > 0
      and not exists (select from track.named_item where named_item.item_id = item.item_id)
      and (
        item.kind <> given.kind
        or item.title is distinct from coalesce(given.title, item.title)
        or item.parent_item_id is distinct from
          coalesce(nullif(given.parent_item_id, item.item_id), item.parent_item_id)
        or item.url is distinct from coalesce(given.url, item.url)
        or item.language is distinct from coalesce(given.language, item.language)
        or item.attributes is distinct from coalesce(given.attributes, item.attributes)
        or item.available_from is distinct from coalesce(given.available_from, item.available_from)
        or item.available_until is distinct from coalesce(given.available_until, item.available_until)
        or item.due_at is distinct from coalesce(given.due_at, item.due_at)
      )
    returning item.item_id
  ),
  written as (
    select changed.item_id from changed
    union
    select renamed.item_id from unnest(v_renamed) as renamed (item_id)
  )
  select
    count(*) filter (where item.item_id > _store_items.newest_known),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is not null),
    count(*) filter (where item.item_id <= _store_items.newest_known and written.item_id is null)
  into v_result
  from given
  join track.item on item.external_id = given.external_id
  left join written on written.item_id = item.item_id;
  return v_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an item is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item.');
end;
$$;

comment on function track._store_items(jsonb, bigint) is $$
@behavior -queryField -mutationField
Stores a list of `{external_id, kind, …}`, as described for `track.sync_items`.
Items with keys up to `newest_known` are counted as existing before the call.
$$;

grant execute on function track._store_items(jsonb, bigint) to insights_admin, insights_worker;

create or replace function track.sync_items(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_former bigint;
  v_twice text;
  v_items jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['external_id', 'kind'], array[
    'title', 'parent', 'url', 'language', 'attributes', 'available_from', 'available_until', 'due_at'
  ]);

  execute format('select external_id from %s group by external_id having count(*) > 1 order by 1 limit 1', source)
  into v_twice;
  if v_twice is not null then
    perform common.refuse('CF001', format('%s names item "%s" more than once', source, left(v_twice, 100)),
      'Give a view with one row for each external_id.');
  end if;

  v_former := (select coalesce(max(item_id), 0) from track.item);

  -- The query runs as the caller, and passes its rows to a definer that takes values only. Each call passes at most
  -- 10,000 rows, because the size of a jsonb value is limited.
  for v_items in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select %s, (row_number() over () - 1) / 10000 as part
        from %s
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_items(v_items, v_former);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_items(regclass) is $$
Reads items from a table or view of the application, with the privileges of the caller.
Required columns: `external_id` and `kind`; optional: `title`, `parent` (external id), `url`, `language`, `attributes`
(jsonb), `available_from`, `available_until` and `due_at`.
Values of the application replace those of events; a missing column or a null keeps the stored value. The call can be
repeated: unchanged items are not written.
Errors: CF002 for a missing column, CF001 for an invalid value or a duplicate item, CF010 for a cycle of parents.
$$;

grant execute on function track.sync_items(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_items.sql

--! Included track/functions/sync_enrolments.sql
create or replace function track._store_enrolments(enrolments jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.enrolment, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_touched bigint[];
  v_merged bigint[];
  v_identities bigint[];
begin
  select enrolment.* into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text, item text, enrolled_at timestamptz, status text)
  where coalesce(length(enrolment.person), 0) not between 1 and 256
    or coalesce(length(enrolment.item), 0) not between 1 and 512
    or enrolment.enrolled_at is null
    or enrolment.status not in ('active', 'completed', 'dropped')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the enrolment of "%s" in "%s" at %s with status "%s" is invalid',
        left(v_bad.person, 100),
        left(v_bad.item, 100),
        coalesce(v_bad.enrolled_at::text, 'null'),
        coalesce(left(v_bad.status, 100), 'active')
      ),
      'An enrolment needs a person, an item and a time; its status is active, completed or dropped.'
    );
  end if;

  select enrolment.person into v_bad
  from jsonb_to_recordset(enrolments) as enrolment (person text)
  where track._names_nobody(enrolment.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('the enrolment of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text)) as named;

  insert into track.item (external_id, kind)
  select distinct enrolment.item, 'course'
  from jsonb_to_recordset(enrolments) as enrolment (item text)
  where not exists (select from track.item where item.external_id = enrolment.item)
  order by enrolment.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.kind = 'user'
    and identity.external_id = any (
      array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
    )
  order by identity.identity_id
  for key share;

  -- As a rule, no item is merged. The enrolments of the names of those that are get their own items meanwhile.
  v_merged := array(
    select distinct member.item_id
    from track.item as member
    join track.item on coalesce(item.merged_item_id, item.item_id) in (member.item_id, member.merged_item_id)
    where (item.merged_item_id is not null or member.merged_item_id is not null)
      and item.external_id = any (
        array(select distinct enrolment.item from jsonb_to_recordset(enrolments) as enrolment (item text))
      )
  );
  if v_merged <> '{}' then
    v_identities := array(
      select identity.identity_id
      from track.identity
      where identity.kind = 'user'
        and identity.external_id = any (
          array(select distinct enrolment.person from jsonb_to_recordset(enrolments) as enrolment (person text))
        )
    );
    perform track._name_enrolments(v_merged, v_identities);
  end if;

  with stored as (
    insert into track.enrolment (person_id, item_id, identity_id, status, enrolled_at, ended_at)
    select
      identity.person_id, item.item_id, identity.identity_id,
      coalesce(enrolment.status, 'active'), enrolment.enrolled_at, enrolment.ended_at
    from jsonb_to_recordset(enrolments) as enrolment (
      person text, item text, enrolled_at timestamptz, status text, ended_at timestamptz
    )
    join track.identity on identity.external_id = enrolment.person and identity.kind = 'user'
    join track.item on item.external_id = enrolment.item
    on conflict (person_id, item_id, identity_id) do update
    set status = excluded.status, enrolled_at = excluded.enrolled_at, ended_at = excluded.ended_at
    where (enrolment.status, enrolment.enrolled_at, enrolment.ended_at)
      is distinct from (excluded.status, excluded.enrolled_at, excluded.ended_at)
    returning enrolment.person_id, xmax = 0 as is_new
  )
  select count(*) filter (where is_new), count(*) filter (where not is_new), array_agg(distinct person_id)
  into v_inserted, v_updated, v_touched
  from stored;
  if v_merged <> '{}' then
    perform track._merge_enrolments(v_merged, v_identities);
  end if;
  perform track._enqueue('enrolment', v_touched);

  return row(
    v_inserted,
    v_updated,
    jsonb_array_length(enrolments) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.enrolment, and texts for person and item.');
end;
$$;

comment on function track._store_enrolments(jsonb) is $$
@behavior -queryField -mutationField
Stores a list of `{person, item, enrolled_at, …}`, as described for `track.sync_enrolments`.
$$;

grant execute on function track._store_enrolments(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_enrolments(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_enrolments jsonb;
  v_part track.sync_result;
  v_result track.sync_result := row(0, 0, 0);
begin
  v_columns := track._columns(source, array['person', 'item', 'enrolled_at'], array['status', 'ended_at']);

  -- The latest enrolment of a person in an item applies. The query runs as the caller, and passes its rows to a definer
  -- that takes values only. Each call passes at most 50,000 rows, because the size of a jsonb value is limited.
  for v_enrolments in
    execute format(
      $query$
      select jsonb_agg(jsonb_build_object(%s))
      from (
        select *, (row_number() over (order by person, item) - 1) / 50000 as part
        from (
          select distinct on (person, item) %s
          from %s
          order by person, item, enrolled_at desc
        ) as newest
      ) as numbered
      group by part
      order by part
      $query$,
      (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
      (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
      source
    )
  loop
    v_part := track._store_enrolments(v_enrolments);
    v_result.inserted := v_result.inserted + v_part.inserted;
    v_result.updated := v_result.updated + v_part.updated;
    v_result.unchanged := v_result.unchanged + v_part.unchanged;
  end loop;
  return v_result;
end;
$$;

comment on function track.sync_enrolments(regclass) is $$
Reads enrolments from a table or view of the application, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `enrolled_at`; optional: `status`
(`active`, `completed`, `dropped`) and `ended_at`.
Unknown people and items are added. Of several rows for one person and item, the latest `enrolled_at` applies. The
call can be repeated: unchanged enrolments are not written. Errors: CF002 for a missing column, CF001 for an invalid
value.
$$;

grant execute on function track.sync_enrolments(regclass) to insights_admin, insights_worker;
--! EndIncluded track/functions/sync_enrolments.sql

--! Included track/instructors/sync_item_roles.sql
create or replace function track._store_item_roles(roles jsonb)
returns track.sync_result
language plpgsql
volatile
-- A definer: the caller reads its own table, and this writes track.item_role, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_bad record;
  v_inserted int;
  v_updated int;
  v_ended int;
begin
  select given.* into v_bad
  from jsonb_to_recordset(roles) as given (person text, item text, role text)
  where coalesce(length(given.person), 0) not between 1 and 256
    or coalesce(length(given.item), 0) not between 1 and 512
    or coalesce(given.role, '') not in ('instructor', 'assistant', 'author')
  limit 1;

  if found then
    perform common.refuse(
      'CF001',
      format(
        'the role "%s" of "%s" in "%s" is invalid',
        coalesce(left(v_bad.role, 100), 'null'),
        left(v_bad.person, 100),
        left(v_bad.item, 100)
      ),
      'A role needs a person and an item; it is instructor, assistant or author.'
    );
  end if;

  select given.person into v_bad
  from jsonb_to_recordset(roles) as given (person text)
  where track._names_nobody(given.person)
  limit 1;

  if found then
    perform common.refuse('CF001', format('a role of "%s", which names nobody', left(v_bad.person, 100)),
      'Leave out rows without a person. Administrators keep the list track.placeholder_id.');
  end if;

  -- One call at a time: each ends the roles that its list does not contain.
  perform pg_advisory_xact_lock(hashtext('track.item_role'));

  perform track._enter_people(array_agg('user'::text), array_agg(named.person))
  from (select distinct given.person from jsonb_to_recordset(roles) as given (person text)) as named
  having count(*) > 0;

  insert into track.item (external_id)
  select distinct given.item
  from jsonb_to_recordset(roles) as given (item text)
  where not exists (select from track.item where item.external_id = given.item)
  order by given.item
  on conflict (external_id) do nothing;

  -- Blocks merges of these people until the end of the transaction.
  perform identity.identity_id
  from track.identity
  where identity.kind = 'user'
    and (
      identity.external_id = any (
        array(select distinct given.person from jsonb_to_recordset(roles) as given (person text))
      )
      or identity.identity_id = any (array(select distinct item_role.identity_id from track.item_role))
    )
  order by identity.identity_id
  for key share;

  with given as materialized (
    select
      identity.person_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity') as started_at, max(coalesce(given.ended_at, 'infinity')) as ended_at,
      identity.identity_id
    from jsonb_to_recordset(roles) as given (
      person text, item text, role text, started_at timestamptz, ended_at timestamptz
    )
    join track.identity on identity.external_id = given.person and identity.kind = 'user'
    join track.item on item.external_id = given.item
    group by
      identity.person_id, identity.identity_id, item.item_id, given.role,
      coalesce(given.started_at, '-infinity')
  ),

  stored as (
    insert into track.item_role (person_id, item_id, role, started_at, ended_at, identity_id)
    select given.person_id, given.item_id, given.role, given.started_at, given.ended_at, given.identity_id
    from given
    on conflict (person_id, item_id, role, identity_id, started_at) do update
    set ended_at = excluded.ended_at
    where item_role.ended_at <> excluded.ended_at
    returning xmax = 0 as is_new
  ),

  ended as (
    update track.item_role
    set ended_at = now()
    where item_role.ended_at > now()
      and not exists (
        select
        from given
        where given.identity_id = item_role.identity_id
          and given.item_id = item_role.item_id
          and given.role = item_role.role
          and given.started_at = item_role.started_at
      )
    returning item_role.item_id
  )

  select
    (select count(*) from stored where is_new),
    (select count(*) from stored where not is_new),
    (select count(*) from ended)
  into v_inserted, v_updated, v_ended;

  return row(
    v_inserted,
    v_updated + v_ended,
    jsonb_array_length(roles) - v_inserted - v_updated
  )::track.sync_result;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of a role is invalid: %s', left(sqlerrm, 100)),
      'Give a view whose columns have the types of track.item_role, and texts for person and item.');
end;
$$;

comment on function track._store_item_roles(jsonb) is $$
@behavior -queryField -mutationField
Stores the complete list of `{person, item, role, …}`, as described for `track.sync_item_roles`.
$$;

grant execute on function track._store_item_roles(jsonb) to insights_admin, insights_worker;

create or replace function track.sync_item_roles(source regclass)
returns track.sync_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_columns text[];
  v_roles jsonb;
begin
  v_columns := track._columns(source, array['person', 'item', 'role'], array['started_at', 'ended_at']);

  -- The query runs as the caller, and passes its rows to a definer that takes values only.
  execute format(
    $query$
    select coalesce(jsonb_agg(jsonb_build_object(%s)), '[]')
    from (select distinct %s from %s) as role
    $query$,
    (select string_agg(format('%L, %I', name, name), ', ') from unnest(v_columns) as name),
    (select string_agg(format('%I', name), ', ') from unnest(v_columns) as name),
    source
  )
  into v_roles;
  return track._store_item_roles(v_roles);
end;
$$;

comment on function track.sync_item_roles(regclass) is $$
Reads who teaches, assists in or wrote an item from a table or view, with the privileges of the caller.
Required columns: `person` (`userId`), `item` (external id, usually of a course) and `role` (`instructor`, `assistant`
or `author`); optional: `started_at` and `ended_at`.
The relation is the complete list, one row per period: a period that it does not contain ends now, so that a person who
was removed in the application no longer sees the learners; it is counted as updated. Of several rows with one start,
the latest `ended_at` applies; null: no limit. Unknown people and items are added. The call can be repeated: unchanged
roles are not written.
Errors: CF002 for a missing column, CF001 for an invalid value.
$$;

grant execute on function track.sync_item_roles(regclass) to insights_admin, insights_worker;
--! EndIncluded track/instructors/sync_item_roles.sql

--! Included track/instructors/teaches.sql
create or replace function track.teaches(item_id bigint)
returns boolean
language sql
stable
parallel safe
begin atomic
  select exists (
    select
    from track.item_ancestor as ancestor
    join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
    where ancestor.item_id = teaches.item_id
      and item_role.person_id = track.current_person_id()
      and item_role.role in ('instructor', 'assistant')
      and item_role.started_at <= now()
      and item_role.ended_at > now()
  );
end;

comment on function track.teaches(bigint) is $$
Returns whether the signed-in person teaches an item now: as instructor or assistant of it, or of what contains it.
$$;

grant execute on function track.teaches(bigint) to insights_reader;
--! EndIncluded track/instructors/teaches.sql

--! Included track/instructors/taught_courses.sql
create or replace function track.taught_courses()
returns setof track.taught_course
language sql
stable
parallel safe
begin atomic
  select taught.external_id, taught.title, taught.role, taught.started_at, taught.ended_at
  from (
    select distinct on (item.item_id)
      item.external_id, item.title, item_role.role, nullif(item_role.started_at, '-infinity') as started_at,
      nullif(item_role.ended_at, 'infinity') as ended_at
    from track.applied_item_role as item_role
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
    join track.item on item.item_id = ancestor.item_id
    where item_role.person_id = track.current_person_id()
      and item_role.role in ('instructor', 'assistant')
      and item_role.started_at <= now()
      and item_role.ended_at > now()
      and item.kind = 'course'
    order by item.item_id, item_role.role = 'instructor' desc, ancestor.depth, item_role.ended_at desc,
      item_role.started_at
  ) as taught
  order by taught.external_id;
end;

comment on function track.taught_courses() is $$
Returns the courses that the signed-in person teaches now, also those that are contained in an item she teaches.
$$;

grant execute on function track.taught_courses() to insights_instructor;
--! EndIncluded track/instructors/taught_courses.sql

--! Included track/instructors/reads_all_people.sql
create or replace function track.reads_all_people()
returns boolean
language sql
stable
parallel safe
begin atomic
  -- For a login that has not set a role, its own memberships apply. In a definer, the setting is still the caller's.
  select pg_has_role(caller.name, 'insights_admin', 'usage')
    or pg_has_role(caller.name, 'insights_worker', 'usage')
    or pg_has_role(caller.name, 'insights_reader', 'usage')
  from (
    select case current_setting('role') when 'none' then session_user else current_setting('role') end as name
  ) as caller;
end;

comment on function track.reads_all_people() is $$
Returns whether the caller may read the data of all people: administrators and workers, but not instructors.
Functions that are granted to both check it, and return to an instructor only her own courses (`track.teaches`).
$$;

grant execute on function track.reads_all_people() to insights_reader;
--! EndIncluded track/instructors/reads_all_people.sql

-- from track/policies.sql
grant select on
  track.person, track.identity, track.identity_link, track.trait, track.enrolment, track.item_role, track.event,
  track.session, track.page_view
to insights_reader, insights_learner, insights_admin;
grant select on track.write_key_log, track.refusal_sample, track.name_log to insights_admin;
grant select on track.renamed_month, track.named_item, track.named_prerequisite to insights_admin, insights_worker;
grant select on
  track.step, track.presence, track.item_month, track.item_day, track.course_presence, track.stale_course
to insights_reader, insights_admin, insights_worker;
grant select on track.rollup_check to insights_admin, insights_worker;
drop policy if exists all_rows on track.rollup_check;
create policy all_rows on track.rollup_check for select using (true);
drop policy if exists all_rows on track.name_log;
create policy all_rows on track.name_log for select using (true);
drop policy if exists all_rows on track.renamed_month;
create policy all_rows on track.renamed_month for select using (true);
drop policy if exists all_rows on track.named_item;
create policy all_rows on track.named_item for select using (true);
drop policy if exists all_rows on track.named_prerequisite;
create policy all_rows on track.named_prerequisite for select using (true);
do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'person', 'identity', 'trait', 'enrolment', 'item_role', 'event', 'session', 'automatic_period', 'step', 'stale',
    'changed'
  ]
  loop
    execute format('drop policy if exists own on track.%I', v_table);
    execute format(
      $policy$
      create policy own on track.%I for select to insights_learner
      using (person_id <> 0 and person_id = nullif(current_setting('insights.person_id', true), '')::bigint)
      $policy$,
      v_table
    );
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;
do $$
declare
  v_table text;
begin
  foreach v_table in array array['presence', 'item_month', 'item_day', 'course_presence', 'stale_course']
  loop
    execute format('drop policy if exists all_people on track.%I', v_table);
    execute format(
      $policy$
      create policy all_people on track.%I for select to insights_reader, insights_admin, insights_worker
      using (true)
      $policy$,
      v_table
    );
  end loop;
end;
$$;

--! Included analytics/functions/_power_of_two.sql
create or replace function analytics._power_of_two(number float8)
returns float8
language sql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  -- Rounded, because the last digits of a logarithm depend on the platform.
  select case
    when number > 0 then power(2::float8, ceil(round((ln(number) / ln(2::float8))::numeric, 9))::float8)
  end;
$$;

comment on function analytics._power_of_two(float8) is $$
Returns the smallest power of two that is not below a number; null for 0 and less. For the units of rounding.
$$;

grant execute on function analytics._power_of_two(float8) to insights_reader;
--! EndIncluded analytics/functions/_power_of_two.sql

--! Included analytics/functions/_shown.sql
create or replace function analytics._shown(
  figure float8, people bigint, smallest_group int, whole float8 default null
)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 then figure
    when people < smallest_group or figure <= 0 or figure < rounding.part_minimum then 0
    else floor(figure / rounding.unit + 0.5) * rounding.unit
  end
  from (
    select smallest_group * analytics._power_of_two(coalesce(whole, figure) / nullif(people, 0)) as unit
  ) as unit
  cross join lateral (
    select unit.unit, case when whole is not null then unit.unit else 0 end as part_minimum
  ) as rounding;
$$;

comment on function analytics._shown(float8, bigint, int, float8) is $$
Returns a figure about a group of people as analysts see it.
A group of fewer than `smallest_group` people reads as an empty one: 0. Numbers of people are rounded to the nearest
multiple of `smallest_group`, halves upwards; with 5 that is the rounding methodology of HESA (the Higher Education
Statistics Agency of the UK), but for groups of 3 and 4, which HESA shows as 5. Other sums, such as events, are rounded
to the nearest multiple of `smallest_group` times the average per person, rounded up to a power of two: a sum is never
more precise than `smallest_group` average people. `whole`: the figure that `figure` is a part of, such as a sum
weighted by age; it is then rounded like the whole one, and less than one unit reads as 0. A `smallest_group` of 1 or
null shows exact figures.
$$;

grant execute on function analytics._shown(float8, bigint, int, float8) to insights_reader;
--! EndIncluded analytics/functions/_shown.sql

--! Included analytics/functions/_shown_mean.sql
create or replace function analytics._shown_mean(
  figure float8, people bigint, smallest_group int, mean float8 default null
)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 then figure
    -- HESA: averages of 7 or fewer, percentages of fewer than 22.5 people, where numbers are rounded to 5.
    when people >= case when mean is null then 1.5 else 4.5 end * smallest_group
      then coalesce(floor(figure / unit.size + 0.5) * unit.size, 0)
  end
  from (
    select analytics._power_of_two(smallest_group * abs(coalesce(mean, figure)) / nullif(people, 0)) as size
  ) as unit;
$$;

comment on function analytics._shown_mean(float8, bigint, int, float8) is $$
Returns a mean over a group of people as analysts see it, or a quartile when the `mean` is given too.
Rounded to a multiple of `smallest_group` / `people` of the mean, rounded up to a power of two: as precise as a sum by
`analytics._shown`. Null for fewer than 1.5 times `smallest_group` people, and a quartile for fewer than 4.5 times as
many: with 5, the limits of HESA for averages (7 or fewer) and percentages (fewer than 22.5). A `smallest_group` of 1
or null shows exact figures.
$$;

grant execute on function analytics._shown_mean(float8, bigint, int, float8) to insights_reader;
--! EndIncluded analytics/functions/_shown_mean.sql

--! Included analytics/functions/_weight.sql
create or replace function analytics._weight(days int, half_life interval)
returns float8
language sql
immutable
parallel safe
return case
  -- A weight of 2 to the power of -1000 counts as zero; a smaller power would raise an underflow.
  when half_life is not null then 0.5::float8 ^ least(1000, days * 86400 / extract(epoch from half_life)::float8)
  else 1
end;

comment on function analytics._weight(int, interval) is $$
Returns the weight of what happened some days ago: halved per `half_life`; 1 without one.
$$;

grant execute on function analytics._weight(int, interval) to insights_reader;
--! EndIncluded analytics/functions/_weight.sql

--! Included analytics/functions/_queued_use.sql
create or replace function analytics._queued_use(people bigint[], first_days date[], end_days date[])
returns table (
  person_id bigint, day date, item_id bigint, event_count int, engaged interval, was boolean
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _queued_use.people is null then
    return;
  end if;

  return query
  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged, true
  from track.stored_activity(_queued_use.people, _queued_use.first_days, _queued_use.end_days) as activity
  join track.person_set_block as stored
    on stored.name = 'counted'
    and stored.block = activity.person_id / 4096
    and get_bit(stored.people, (activity.person_id % 4096)::int) <> 0
  where activity.item_id is not null

  union all

  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged, false
  from track.event_activity(_queued_use.people, _queued_use.first_days, _queued_use.end_days) as activity
  join track.person_set_blocks('counted') as counted
    on counted.block = activity.person_id / 4096
    and get_bit(counted.people, (activity.person_id % 4096)::int) <> 0
  where activity.item_id is not null;
end;
$$;

comment on function analytics._queued_use(bigint[], date[], date[]) is $$
Returns the use of items by counted people on days that are queued for a refresh.
`was`: as the rollups contain it; otherwise as of now.
$$;

grant execute on function analytics._queued_use(bigint[], date[], date[]) to insights_reader;
--! EndIncluded analytics/functions/_queued_use.sql

--! Included analytics/functions/_left_out_days.sql
create or replace function analytics._left_out_days(
  kind text, first_day date, end_day date, smallest_group int
)
returns table (item_id bigint, day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The rollup has the people of items by themselves, and of whole courses.
  v_is_stored constant boolean := _left_out_days.kind is null
    or _left_out_days.kind = 'course' and not exists (select from track.stale_course);
  v_queued record;
begin
  if _left_out_days.smallest_group <= 1 then
    return;
  end if;
  v_queued := track.queued_days(_left_out_days.first_day, _left_out_days.end_day);

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _left_out_days.kind is null then ancestor.depth = 0
        else item.kind = _left_out_days.kind
      end
  ),

  queued as materialized (
    select distinct target.target_id, queued.person_id, queued.day, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  day_size as (
    select people.target_id, people.day, sum(people.person_count) as person_count
    from (
      select item_day.item_id as target_id, item_day.day, item_day.person_count
      from track.item_day
      join track.item on item.item_id = item_day.item_id
      where v_is_stored
        and item_day.with_parts = (_left_out_days.kind is not null)
        and item_day.day >= _left_out_days.first_day
        and item_day.day < _left_out_days.end_day

      union all

      select used.target_id, used.day, count(*)
      from (
        select distinct target.target_id, item_month.month + place as day, item_month.part, listed.person
        from track.item_month
        join target on target.item_id = item_month.item_id
        cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
        join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
        join track.person_set_block as stored
          on stored.name = 'counted'
          and stored.block = item_month.part * 8 + listed.person / 4096
          and get_bit(stored.people, listed.person % 4096) <> 0
        where not v_is_stored
          and item_month.month > _left_out_days.first_day - 31
          and item_month.month < _left_out_days.end_day
      ) as used
      where used.day >= _left_out_days.first_day
        and used.day < _left_out_days.end_day
      group by used.target_id, used.day

      union all

      select queued.target_id, queued.day, case when queued.was then -1 else 1 end
      from queued
    ) as people
    group by people.target_id, people.day
  ),

  small as materialized (
    select day_size.target_id, day_size.day, date_trunc('week', day_size.day::timestamp)::date as week
    from day_size
    where day_size.person_count between 1 and _left_out_days.smallest_group - 1
  ),

  -- The people of the small days of weeks (from Monday) that are whole in the period.
  used_in_week as (
    select small.target_id, small.week, item_month.part::bigint * 32768 + listed.person as person_id
    from small
    join target on target.target_id = small.target_id
    join track.item_month
      on item_month.item_id = target.item_id
      and item_month.month = date_trunc('month', small.day::timestamp)::date
    cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
    join counted
      on counted.block = item_month.part * 8 + listed.person / 4096
      and get_bit(counted.people, listed.person % 4096) <> 0
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
      and listed.days & (1 << (extract(day from small.day)::int - 1)) <> 0
      and not exists (
        select
        from unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
          as queued_day (person_id, first_day, end_day)
        where queued_day.person_id = item_month.part::bigint * 32768 + listed.person
          and small.day >= queued_day.first_day
          and small.day < queued_day.end_day
      )

    union all

    select small.target_id, small.week, queued.person_id
    from small
    join queued on queued.target_id = small.target_id and queued.day = small.day and not queued.was
    where small.week >= _left_out_days.first_day
      and small.week + 7 <= _left_out_days.end_day
  ),

  week_of_group as (
    select used_in_week.target_id, used_in_week.week
    from used_in_week
    group by used_in_week.target_id, used_in_week.week
    having count(distinct used_in_week.person_id) >= _left_out_days.smallest_group
  )

  select small.target_id, small.day
  from small
  where not exists (
    select
    from week_of_group
    where week_of_group.target_id = small.target_id
      and week_of_group.week = small.week
  );
end;
$$;

comment on function analytics._left_out_days(text, date, date, int) is $$
Returns the days on which an item of a kind was used by fewer than `smallest_group` counted people.
Without the small days of a week (from Monday) that is whole in the period, if they have at least `smallest_group`
people together. Arguments and items are those of `analytics._item_use`. Days without use have no row.
$$;

grant execute on function analytics._left_out_days(text, date, date, int) to insights_reader;
--! EndIncluded analytics/functions/_left_out_days.sql

--! Included analytics/functions/_item_use.sql
create or replace function analytics._item_use(
  kind text, first_day date, end_day date, half_life interval, newest_day date, smallest_group int
)
returns table (
  item_id bigint,
  event_count bigint,
  person_count bigint,
  engaged interval,
  decayed_event_count float8,
  decayed_person_count float8,
  decayed_engaged float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_decays constant boolean := _item_use.half_life is not null;
  v_of_courses constant boolean := _item_use.kind is not distinct from 'course'
    and not exists (select from track.stale_course);
  -- People of whole months are the bits of courses. All other people are read from the days of people.
  v_by_bits constant boolean := v_of_courses and not v_decays;
  v_first_month date := date_trunc('month', _item_use.first_day + interval '1 month' - interval '1 day')::date;
  v_end_month date := date_trunc('month', _item_use.end_day::timestamp)::date;
  -- Bits of a day of a month, so that `width_bucket` finds the last day.
  v_powers constant int[] := array(select 1 << place from generate_series(0, 30) as place);
  v_queued record;
  -- One bit per person, counted or queued, of all blocks, and the months that queued days touch.
  v_counted varbit;
  v_queued_bits varbit;
  v_first_queued date;
  v_last_queued date;
begin
  if v_first_month >= v_end_month then
    v_first_month := _item_use.end_day;
    v_end_month := _item_use.end_day;
  end if;
  v_queued := track.queued_days(_item_use.first_day, _item_use.end_day);
  if not v_of_courses then
    select string_agg(coalesce(counted.people, v_no_people)::text, '' order by blocks.block)::varbit
    into v_counted
    from generate_series(
      0, (select max(set_block.block) from track.person_set_blocks('counted') as set_block)
    ) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block;
    if v_queued.people is not null then
      select string_agg(coalesce(queued.people, v_no_people)::text, '' order by blocks.block)::varbit
      into v_queued_bits
      from generate_series(
        0, (select max(person_id) / 4096 from unnest(v_queued.people) as person_id)
      ) as blocks (block)
      left join (
        select person_id / 4096 as block, bit_or(track.person_bit(person_id)) as people
        from unnest(v_queued.people) as person_id
        group by 1
      ) as queued on queued.block = blocks.block;
      select date_trunc('month', min(day)::timestamp), date_trunc('month', max(day)::timestamp)
      into v_first_queued, v_last_queued
      from unnest(v_queued.first_days || v_queued.end_days) as day;
    end if;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  target as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id as target_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id
    where case
        when _item_use.kind is null then ancestor.depth = 0
        else item.kind = _item_use.kind
      end
  ),

  left_out as materialized (
    select small.item_id as target_id, small.day
    from analytics._left_out_days(
      _item_use.kind, _item_use.first_day, _item_use.end_day, _item_use.smallest_group
    ) as small
    where _item_use.smallest_group > 1
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select target.target_id, queued.person_id, queued.day, queued.event_count, queued.engaged, queued.was
    from analytics._queued_use(v_queued.people, v_queued.first_days, v_queued.end_days) as queued
    join target on target.item_id = queued.item_id
  ),

  -- Sums. Those of the days that are left out are subtracted.
  summed as (
    select item_day.item_id as target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    where v_of_courses
      and item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
    union all
    select target.target_id, null, item_month.event_count, item_month.engaged
    from track.item_month
    join target on target.item_id = item_month.item_id
    where not v_of_courses
      and not v_decays
      and item_month.month >= v_first_month
      and item_month.month < v_end_month
    union all
    select target.target_id, item_day.day, item_day.event_count, item_day.engaged
    from track.item_day
    join target on target.item_id = item_day.item_id
    where not v_of_courses
      and not item_day.with_parts
      and item_day.day >= _item_use.first_day
      and item_day.day < _item_use.end_day
      and (v_decays or item_day.day < v_first_month or item_day.day >= v_end_month)
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then -queued.event_count else queued.event_count end,
      case when queued.was then -queued.engaged else queued.engaged end
    from queued
    union all
    select left_out.target_id, left_out.day, -item_day.event_count, -item_day.engaged
    from left_out
    join target on target.target_id = left_out.target_id
    join track.item_day on item_day.item_id = target.item_id and item_day.day = left_out.day and not item_day.with_parts
    union all
    select
      queued.target_id, queued.day,
      case when queued.was then queued.event_count else -queued.event_count end,
      case when queued.was then queued.engaged else -queued.engaged end
    from queued
    join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
  ),

  target_sum as (
    select
      summed.target_id,
      sum(summed.event_count)::bigint as event_count,
      sum(summed.engaged) as engaged,
      sum(summed.event_count * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life))
        as decayed_event_count,
      sum(
        extract(epoch from summed.engaged)
          * analytics._weight(_item_use.newest_day - summed.day, _item_use.half_life)
      ) as decayed_engaged
    from summed
    group by summed.target_id
  ),

  -- The months of the rollup that queued days touch, with these days as bits.
  queued_month as materialized (
    select
      entry.person_id, months.first_day as month,
      (
        ((1::bigint << least(entry.end_day - months.first_day, 31)) - 1)
          & ~((1::bigint << greatest(entry.first_day - months.first_day, 0)) - 1)
      )::int as days
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
    cross join (
      select min(item_day.day) as first_day, max(item_day.day) as last_day
      from track.item_day
      where not item_day.with_parts
      having min(item_day.day) is not null
    ) as stored
    cross join lateral (
      select month::date as first_day
      from generate_series(
        date_trunc('month', greatest(entry.first_day, stored.first_day)::timestamp),
        least(entry.end_day - 1, stored.last_day)::timestamp,
        interval '1 month'
      ) as month
    ) as months
  ),

  queued_block as materialized (
    select
      queued_month.month, (queued_month.person_id / 4096)::int as block,
      bit_or(track.person_bit(queued_month.person_id)) as people
    from queued_month
    group by 1, 2
  ),

  left_out_month as materialized (
    select
      left_out.target_id, date_trunc('month', left_out.day::timestamp)::date as month,
      bit_or(1 << (extract(day from left_out.day)::int - 1)) as mask
    from left_out
    group by 1, 2
  ),

  -- People with queued days in a month are not read from its bits, but from their days.
  used_in_months as (
    select by_block.target_id, by_block.block, by_block.people & counted.people as people
    from (
      select
        course_presence.item_id as target_id, course_presence.block,
        bit_or(course_presence.people & ~coalesce(queued_block.people, v_no_people)) as people
      from track.course_presence
      left join queued_block
        on queued_block.month = course_presence.month
        and queued_block.block = course_presence.block
      where v_by_bits
        and course_presence.month >= v_first_month
        and course_presence.month < v_end_month
        and course_presence.item_id not in (select left_out_month.target_id from left_out_month)
      group by course_presence.item_id, course_presence.block
    ) as by_block
    join counted on counted.block = by_block.block
  ),

  -- The days of the people of courses in the period.
  listed_days as not materialized (
    select
      course_presence.item_id as target_id, course_presence.month,
      course_presence.block::bigint * 4096 + listed.member as person_id,
      listed.days & limits.mask as days
    from track.course_presence
    left join left_out_month
      on left_out_month.target_id = course_presence.item_id
      and left_out_month.month = course_presence.month
    cross join lateral (
      select
        analytics._days_of_month(course_presence.month, _item_use.first_day, _item_use.end_day)
          & ~coalesce(left_out_month.mask, 0) as mask
    ) as limits
    cross join lateral unnest(course_presence.members, course_presence.days) as listed (member, days)
    where v_of_courses
      and course_presence.month > _item_use.first_day - 31
      and course_presence.month < _item_use.end_day
      and listed.days & limits.mask <> 0
  ),

  used_on_days as (
    select used.target_id, used.person_id, max(used.last_day) as last_day
    from (
      select
        listed_days.target_id, listed_days.person_id,
        case when v_decays then listed_days.month - 1 + width_bucket(listed_days.days, v_powers) end as last_day
      from listed_days
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      left join queued_block
        on queued_block.month = listed_days.month
        and queued_block.block = listed_days.person_id / 4096
      where coalesce(get_bit(queued_block.people, (listed_days.person_id % 4096)::int), 0) = 0
        and (
          not v_by_bits
          or listed_days.month < v_first_month
          or listed_days.month >= v_end_month
          or listed_days.target_id in (select of_target.target_id from left_out_month as of_target)
        )

      union all

      -- Other days of queued people, in the months with queued days.
      select
        listed_days.target_id, listed_days.person_id,
        case
          when v_decays
            then listed_days.month - 1 + width_bucket(listed_days.days & ~queued_month.days, v_powers)
        end
      from listed_days
      join queued_month
        on queued_month.month = listed_days.month
        and queued_month.person_id = listed_days.person_id
      join counted
        on counted.block = listed_days.person_id / 4096
        and get_bit(counted.people, (listed_days.person_id % 4096)::int) <> 0
      where v_queued.people is not null
        and listed_days.days & ~queued_month.days <> 0

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where v_of_courses
        and not queued.was
        and left_out.day is null
    ) as used
    group by used.target_id, used.person_id
  ),

  -- People with queued days who used other items: on these days, and on other days of the months that they touch.
  queued_people as (
    select used.target_id, array_agg(used.person_id) as people, array_agg(used.last_day) as last_days
    from (
      select
        target.target_id, entry.person_id,
        item_month.month - 1 + width_bucket(unqueued.days, v_powers) as last_day
      from track.item_month
      join target on target.item_id = item_month.item_id
      left join left_out_month
        on left_out_month.target_id = target.target_id
        and left_out_month.month = item_month.month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
        on entry.person_id = item_month.part::bigint * 32768 + listed.person
      cross join lateral (
        select
          listed.days & ~coalesce(left_out_month.mask, 0)
            & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day)
            & ~analytics._days_of_month(item_month.month, entry.first_day, entry.end_day) as days
      ) as unqueued
      where item_month.month between v_first_queued and v_last_queued
        and unqueued.days <> 0
        and case when entry.person_id < length(v_counted) then get_bit(v_counted, entry.person_id::int) <> 0 end

      union all

      select queued.target_id, queued.person_id, queued.day
      from queued
      left join left_out on left_out.target_id = queued.target_id and left_out.day = queued.day
      where not queued.was
        and left_out.day is null
    ) as used
    where not v_of_courses
      and v_queued.people is not null
    group by used.target_id
  ),

  -- Item by item: one hash table of all items and people would be several times slower.
  used_items as (
    select of_target.target_id, used.person_count, used.weight
    from (
      select target.target_id, array_agg(target.item_id) as item_ids
      from target
      where not v_of_courses
      group by target.target_id
    ) as of_target
    left join queued_people on queued_people.target_id = of_target.target_id
    cross join lateral (
      select
        count(*) as person_count,
        sum(analytics._weight(_item_use.newest_day - by_person.last_day, _item_use.half_life)) as weight
      from (
        select on_days.person_id, max(on_days.last_day) as last_day
        from (
          select
            listed_people.person_id,
            case when v_decays then listed_people.month - 1 + width_bucket(listed_people.days, v_powers) end as last_day
          from (
            select
              item_month.month, item_month.part * 32768 + listed.person as person_id,
              listed.days & ~coalesce(left_out_month.mask, 0)
                & analytics._days_of_month(item_month.month, _item_use.first_day, _item_use.end_day) as days
            from track.item_month
            left join left_out_month
              on left_out_month.target_id = of_target.target_id
              and left_out_month.month = item_month.month
            cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
            where item_month.item_id = any (of_target.item_ids)
              and item_month.month > _item_use.first_day - 31
              and item_month.month < _item_use.end_day
          ) as listed_people
          where listed_people.days <> 0
            and case
              when listed_people.person_id < length(v_counted) then get_bit(v_counted, listed_people.person_id) <> 0
            end
            and case
              when v_queued.people is not null
                and listed_people.month between v_first_queued and v_last_queued
                and listed_people.person_id < length(v_queued_bits)
                then get_bit(v_queued_bits, listed_people.person_id) = 0
              else true
            end

          union all

          select entry.person_id, entry.last_day
          from unnest(queued_people.people, queued_people.last_days) as entry (person_id, last_day)
        ) as on_days
        group by on_days.person_id
      ) as by_person
    ) as used
    where used.person_count > 0
  ),

  target_people as (
    select
      person_row.target_id, sum(person_row.person_count) as person_count, sum(person_row.weight) as weight
    from (
      select used_in_months.target_id, bit_count(used_in_months.people) as person_count, null as weight
      from used_in_months
      union all
      select
        used_on_days.target_id, count(*),
        sum(analytics._weight(_item_use.newest_day - used_on_days.last_day, _item_use.half_life))
      from used_on_days
      left join used_in_months
        on used_in_months.target_id = used_on_days.target_id
        and used_in_months.block = used_on_days.person_id / 4096
      where coalesce(get_bit(used_in_months.people, (used_on_days.person_id % 4096)::int), 0) = 0
      group by used_on_days.target_id
      union all
      select used_items.target_id, used_items.person_count, used_items.weight
      from used_items
    ) as person_row
    group by person_row.target_id
  )

  select
    target_people.target_id,
    coalesce(target_sum.event_count, 0),
    target_people.person_count::bigint,
    coalesce(target_sum.engaged, '0'),
    coalesce(case when v_decays then target_sum.decayed_event_count else target_sum.event_count end, 0)::float8,
    (case when v_decays then target_people.weight else target_people.person_count end)::float8,
    coalesce(
      case when v_decays then target_sum.decayed_engaged else extract(epoch from target_sum.engaged) end, 0
    )::float8
  from target_people
  left join target_sum on target_sum.target_id = target_people.target_id
  where target_people.person_count > 0;
end;
$$;

comment on function analytics._item_use(text, date, date, interval, date, int) is $$
Returns the use of the items of a kind, including that of the items they contain, on the days between two.
`end_day` is exclusive. `kind` null: the items themselves, without what they contain. People and sums are those of the
set `counted`; items that none of them used have no row. `half_life`: the decayed columns halve the events per
`half_life` of age at `newest_day`, and a person has the weight of the latest day; null: equal weights.
`smallest_group`: the days of an item that `analytics._left_out_days` returns are left out; 1: all days count.
$$;

grant execute on function analytics._item_use(text, date, date, interval, date, int) to insights_reader;

create or replace function analytics._days_of_month(month date, first_day date, end_day date)
returns int
language sql
immutable
parallel safe
return (
  ((1::bigint << least(greatest(end_day - month, 0), 31)) - 1)
    & ~((1::bigint << least(greatest(first_day - month, 0), 31)) - 1)
)::int;

comment on function analytics._days_of_month(date, date, date) is $$
Returns the days of a month that are between two (`end_day` exclusive), as bits: `1 << (day - 1)` for each.
$$;

grant execute on function analytics._days_of_month(date, date, date) to insights_reader;
--! EndIncluded analytics/functions/_item_use.sql

--! Included analytics/functions/popular_items.sql
/* The exact figures. `analytics._popular_items_ranked` shows them. */
create or replace function analytics._popular_items(
  kind text, since timestamptz, until timestamptz, half_life interval, measure text, smallest_group int
)
returns table (
  item text, title text, item_kind text, event_count bigint, person_count bigint, engaged interval, score float8
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_day constant date := greatest((_popular_items.since at time zone 'UTC')::date, '0001-01-01');
  v_end_day constant date := least((_popular_items.until at time zone 'UTC')::date, '9999-12-31');
begin
  return query
  select
    item.external_id,
    item.title,
    item.kind,
    used.event_count,
    used.person_count,
    used.engaged,
    -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
    round(
      case _popular_items.measure
        when 'events' then used.decayed_event_count
        when 'engaged' then used.decayed_engaged
        else used.decayed_person_count
      end::numeric,
      9
    )::float8
  from analytics._item_use(
    _popular_items.kind, v_first_day, v_end_day, _popular_items.half_life,
    least(v_end_day, (now() at time zone 'UTC')::date), _popular_items.smallest_group
  ) as used
  join track.item on item.item_id = used.item_id;
end;
$$;

comment on function analytics._popular_items(text, timestamptz, timestamptz, interval, text, int) is $$
Returns the exact use of each item by counted people, and its score, with the privileges of the caller.
`since` and `until` are bounds of days, UTC. A day on which fewer than `smallest_group` people used an item counts with
the other small days of its week (from Monday), when the period contains the week and they have at least
`smallest_group` people together, and otherwise not; 1: all days count.
$$;

grant execute on function analytics._popular_items(text, timestamptz, timestamptz, interval, text, int)
to insights_reader;

create or replace function analytics._popular_items_ranked(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
begin
  perform common.check_period(_popular_items_ranked.since, _popular_items_ranked.until);
  if _popular_items_ranked.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', _popular_items_ranked.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', _popular_items_ranked.top, 1, 10000);
  if _popular_items_ranked.measure is null or _popular_items_ranked.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_items_ranked.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if _popular_items_ranked.kind is not null
    and not exists (select from track.item where item.kind = _popular_items_ranked.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_popular_items_ranked.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  with used as (
    select
      kernel.*,
      case _popular_items_ranked.measure
        when 'events' then kernel.event_count
        when 'engaged' then extract(epoch from kernel.engaged)
        else kernel.person_count
      end::float8 as measured
    from analytics._popular_items(
      _popular_items_ranked.kind,
      -- Whole days, so that two periods differ by a day at least.
      date_trunc('day', _popular_items_ranked.since),
      case
        when _popular_items_ranked.until < '294276-12-31'
          then date_trunc('day', _popular_items_ranked.until - interval '1 microsecond') + interval '1 day'
        else 'infinity'
      end,
      _popular_items_ranked.half_life,
      _popular_items_ranked.measure,
      _popular_items_ranked.smallest_group
    ) as kernel
    where kernel.person_count >= _popular_items_ranked.smallest_group
  ),

  shown as (
    select
      used.item,
      used.title,
      used.item_kind,
      analytics._shown(used.event_count, used.person_count, _popular_items_ranked.smallest_group)::bigint
        as event_count,
      analytics._shown(used.person_count, used.person_count, _popular_items_ranked.smallest_group)::bigint
        as person_count,
      case
        when _popular_items_ranked.smallest_group = 1 then used.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from used.engaged)::float8, used.person_count, _popular_items_ranked.smallest_group
        ))
      end as engaged,
      -- With a half-life, rounded like the figure without one: recent days weigh most, and may be those of one person.
      analytics._shown(
        used.score, used.person_count, _popular_items_ranked.smallest_group,
        case when _popular_items_ranked.half_life is not null then used.measured end
      ) as score
    from used
  )

  -- The order shows nothing that the figures do not.
  select
    (row_number() over by_score)::int,
    shown.item,
    shown.title,
    shown.item_kind,
    shown.event_count,
    shown.person_count,
    shown.engaged,
    shown.score
  from shown
  window by_score as (order by shown.score desc, shown.event_count desc, shown.item)
  order by shown.score desc, shown.event_count desc, shown.item
  limit _popular_items_ranked.top;
end;
$$;

comment on function analytics._popular_items_ranked(text, timestamptz, timestamptz, interval, int, text, int) is $$
Computes the result of `analytics.popular_items`, with the privileges of the caller.
`smallest_group`: see `analytics._shown`.
$$;

grant execute on function analytics._popular_items_ranked(text, timestamptz, timestamptz, interval, int, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_items_exact(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text
)
returns setof analytics.popular_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._popular_items_ranked($1, $2, $3, $4, $5, $6, 1);
$$;

alter function analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text)
owner to insights_reader;

comment on function analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text) is $$
Returns the result of `analytics.popular_items` with exact figures of all items, for admins and workers.
$$;

grant execute on function analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_items_shown(
  kind text, since timestamptz, until timestamptz, half_life interval, top int, measure text
)
returns setof analytics.popular_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_items_ranked($1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting));
$$;

alter function analytics._popular_items_shown(text, timestamptz, timestamptz, interval, int, text)
owner to insights_reader;

comment on function analytics._popular_items_shown(text, timestamptz, timestamptz, interval, int, text) is $$
Returns the result of `analytics.popular_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_items_shown(text, timestamptz, timestamptz, interval, int, text)
to insights_analyst;

create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people'
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text)', 'execute'
  ) then
    return query
    select *
    from analytics._popular_items_exact(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure
    );
  else
    return query
    select *
    from analytics._popular_items_shown(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure
    );
  end if;
end;
$$;

comment on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain. The period is extended to whole days, UTC, at both ends.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item counts with the other small days of its week (from Monday), when the period contains the whole week
and they have at least as many people together, and otherwise not: no two periods differ by the use of a smaller group.
Figures are rounded by `analytics._shown`, and items are in the order of what is shown; items of fewer people are
excluded, as those that nobody used.
Days are read from the rollup, and those that are queued for a refresh from the events: the result includes every event
that was stored when the function was called. Engaged times are as of the last refresh of the sessions, and so are
people who used an item only by continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has.
$$;

grant execute on function analytics.popular_items(text, timestamptz, timestamptz, interval, int, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_items.sql

--! Included analytics/functions/trend.sql
/* The exact figures, of all people and of counted people. `analytics._trend_points` shows them. */
create or replace function analytics._trend(
  event_type_id int, bucket text, since timestamptz, until timestamptz, of_days date[] default null
)
returns table (
  bucket_start timestamptz, event_count bigint, person_count bigint, counted_events bigint, counted_people bigint
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (_trend.since at time zone 'UTC')::date;
  v_end_day constant date := (_trend.until at time zone 'UTC')::date;
  v_queued record;
begin
  -- Hours are not in the rollup.
  if _trend.bucket = 'hour' then
    return query
    with by_person as (
      select
        date_trunc('hour', event.occurred_at at time zone 'UTC') as bucket_start, event.person_id, count(*) as events
      from track.event
      where event.event_type_id = _trend.event_type_id
        and event.occurred_at >= _trend.since
        and event.occurred_at < _trend.until
      group by 1, 2
    )
    select
      by_person.bucket_start at time zone 'UTC',
      sum(by_person.events)::bigint,
      count(nullif(by_person.person_id, 0)),
      coalesce(
        sum(by_person.events) filter (where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0), 0
      )::bigint,
      count(*) filter (where get_bit(counted.people, (by_person.person_id % 4096)::int) <> 0)
    from by_person
    left join track.person_set_blocks('counted') as counted on counted.block = by_person.person_id / 4096
    left join track.person_set_blocks('excluded') as excluded on excluded.block = by_person.person_id / 4096
    where coalesce(get_bit(excluded.people, (by_person.person_id % 4096)::int), 0) = 0
    group by by_person.bucket_start;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select activity.person_id, activity.day, -activity.event_count as event_count, true as was
    from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    where activity.event_type_id = _trend.event_type_id
    union all
    select activity.person_id, activity.day, activity.event_count, false
    from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, _trend.event_type_id)
      as activity
  ),

  change as (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not queued.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where queued.is_counted), 0) as counted_count
    from (
      select
        queued.*,
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
      from queued
      left join excluded on excluded.block = queued.person_id / 4096
      left join counted on counted.block = queued.person_id / 4096
      left join track.person_set_block as stored_excluded
        on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
      left join track.person_set_block as stored_counted
        on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    ) as queued
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count, presence.counted_count
    from track.presence
    where presence.event_type_id = _trend.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
  ),

  by_block as (
    select
      date_trunc(_trend.bucket, coalesce(present.day, change.day)::timestamp) as bucket_start,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count,
      sum(coalesce(present.counted_count, 0) + coalesce(change.counted_count, 0)) as counted_count
    from present
    full join change on change.day = present.day and change.block = present.block
    where _trend.of_days is null
      or coalesce(present.day, change.day) = any (_trend.of_days)
    group by 1, 2
  )

  select
    by_block.bucket_start at time zone 'UTC',
    sum(by_block.event_count)::bigint,
    sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)))::bigint,
    sum(by_block.counted_count)::bigint,
    coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint
  from by_block
  left join excluded on excluded.block = by_block.block
  left join counted on counted.block = by_block.block
  group by by_block.bucket_start
  having sum(by_block.event_count) > 0;
end;
$$;

comment on function analytics._trend(int, text, timestamptz, timestamptz, date[]) is $$
Returns the exact numbers of events and people per bucket that has events, with the privileges of the caller.
`since` and `until` are bounds of buckets, in UTC. `of_days`: only these days, UTC, of buckets of a day or more; null:
all. Events and people are those of all people who are not excluded, and those of the set `counted`. Days are read from
the bits of `track.presence`, hours from the events.
$$;

grant execute on function analytics._trend(int, text, timestamptz, timestamptz, date[]) to insights_reader;

create or replace function analytics._trend_of_groups(
  event_type_id int, bucket text, since timestamptz, until timestamptz, smallest_group int
)
returns table (bucket_start timestamptz, event_count bigint, person_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_week constant interval := interval '7 days';
  v_first_week constant timestamptz := date_trunc('week', _trend_of_groups.since);
  v_end_week constant timestamptz := date_trunc('week', _trend_of_groups.until - interval '1 microsecond') + v_week;
  v_small_days date[];
  v_days date[];
begin
  if _trend_of_groups.bucket = 'hour' then
    -- Of whole days, so that the hours that are left out do not depend on the period.
    return query
    with counted as (
      select
        kernel.bucket_start,
        kernel.counted_events,
        kernel.counted_people,
        kernel.counted_people >= _trend_of_groups.smallest_group as is_group,
        bool_or(kernel.counted_people between 1 and _trend_of_groups.smallest_group - 1) over of_day as has_small_hour,
        date_trunc('day', kernel.bucket_start) as day
      from analytics._trend(
        _trend_of_groups.event_type_id,
        'hour',
        date_trunc('day', _trend_of_groups.since),
        date_trunc('day', _trend_of_groups.until - interval '1 microsecond') + interval '1 day'
      ) as kernel
      window of_day as (partition by date_trunc('day', kernel.bucket_start))
    ),

    numbered as (
      select
        counted.*,
        row_number() over (
          partition by counted.day, counted.is_group
          order by counted.counted_people, counted.bucket_start
        ) as position
      from counted
    )

    select numbered.bucket_start, numbered.counted_events, numbered.counted_people
    from numbered
    where numbered.is_group
      and (not numbered.has_small_hour or numbered.position > 1);
    return;
  end if;

  select
    array_agg(kernel.bucket_start::date) filter (where kernel.counted_people < _trend_of_groups.smallest_group),
    coalesce(
      array_agg(kernel.bucket_start::date) filter (where kernel.counted_people >= _trend_of_groups.smallest_group), '{}'
    )
  into v_small_days, v_days
  from analytics._trend(_trend_of_groups.event_type_id, 'day', v_first_week, v_end_week) as kernel;

  if v_small_days is not null and _trend_of_groups.bucket <> 'day' then
    v_days := v_days || array(
      select small.day
      from analytics._trend(
        _trend_of_groups.event_type_id, 'week', v_first_week, v_end_week, v_small_days
      ) as week
      join unnest(v_small_days) as small (day)
        on date_trunc('week', small.day::timestamptz) = week.bucket_start
      where week.counted_people >= _trend_of_groups.smallest_group
        -- A month contains the weeks that are whole within it.
        and date_trunc(_trend_of_groups.bucket, week.bucket_start)
          = date_trunc(_trend_of_groups.bucket, week.bucket_start + interval '6 days')
    );
  end if;

  return query
  select kernel.bucket_start, kernel.counted_events, kernel.counted_people
  from analytics._trend(
    _trend_of_groups.event_type_id, _trend_of_groups.bucket, _trend_of_groups.since, _trend_of_groups.until, v_days
  ) as kernel;
end;
$$;

comment on function analytics._trend_of_groups(int, text, timestamptz, timestamptz, int) is $$
Returns the numbers of events and counted people per bucket, so that no difference of buckets is that of a small group.
A day with fewer than `smallest_group` people is in no figure by itself: the small days of a week (from Monday) count
together, in the buckets that contain the whole week, when they have at least `smallest_group` people together, and
otherwise nowhere. By hour, small hours are left out, and in each day that has one the smallest other hour as well
(secondary suppression): what is missing of a day has at least `smallest_group` people.
$$;

grant execute on function analytics._trend_of_groups(int, text, timestamptz, timestamptz, int) to insights_reader;

create or replace function analytics._trend_points(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  window_size int,
  smallest_group int
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = _trend_points.event_name
  );
  v_longest constant interval := interval '10000 hours';
  v_length interval;
  v_since timestamptz;
  v_until timestamptz;
begin
  perform common.check_period(_trend_points.since, _trend_points.until);
  if length(_trend_points.event_name) > 200 then
    perform common.refuse('CF008', format('event_name has %s characters', length(_trend_points.event_name)),
      'The name of an event has 200 at most.');
  end if;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_trend_points.event_name, 100)),
      coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(_trend_points.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(_trend_points.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  if _trend_points.bucket is null or _trend_points.bucket not in ('hour', 'day', 'week', 'month') then
    perform common.refuse('CF001', format('bucket is "%s"', left(_trend_points.bucket, 100)),
      'Use hour, day, week (from Monday) or month.');
  end if;
  perform common.check_count('window_size', _trend_points.window_size, 1, 10000);
  if not isfinite(_trend_points.since) or not isfinite(_trend_points.until)
    or _trend_points.until - _trend_points.since > v_longest * (
      case _trend_points.bucket
        when 'hour' then 1
        when 'day' then 24
        when 'week' then 168
        else 720
      end
    )
  then
    perform common.refuse(
      'CF008',
      format(
        'from %s until %s there are more than 10000 buckets of one %s',
        _trend_points.since, _trend_points.until, _trend_points.bucket
      ),
      'Give a shorter period, or a larger bucket.'
    );
  end if;

  -- Whole buckets: what a bucket contains, and so its figures, does not depend on the arguments.
  v_length := ('1 ' || _trend_points.bucket)::interval;
  v_since := date_trunc(_trend_points.bucket, _trend_points.since);
  v_until := date_trunc(_trend_points.bucket, _trend_points.until - interval '1 microsecond') + v_length;

  return query
  with counted as (
    select kernel.bucket_start, kernel.event_count, kernel.person_count
    from analytics._trend(v_event_type_id, _trend_points.bucket, v_since, v_until) as kernel
    where _trend_points.smallest_group is null

    union all

    select of_groups.bucket_start, of_groups.event_count, of_groups.person_count
    from analytics._trend_of_groups(
      v_event_type_id, _trend_points.bucket, v_since, v_until, _trend_points.smallest_group
    ) as of_groups
    where _trend_points.smallest_group is not null
  ),

  filled as (
    select
      bucket.bucket_start,
      bucket.ordinality as bucket_number,
      bucket.bucket_start + v_length <= now() as is_complete,
      coalesce(
        analytics._shown(counted.event_count, counted.person_count, _trend_points.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _trend_points.smallest_group), 0
      )::bigint as person_count
    from generate_series(v_since, v_until - interval '1 microsecond', v_length)
      with ordinality as bucket (bucket_start, ordinality)
    left join counted using (bucket_start)
  )

  -- The rows after the last complete bucket have its number, and so its average and slope.
  select
    filled.bucket_start,
    filled.event_count,
    filled.person_count,
    (avg(filled.event_count) filter (where filled.is_complete) over last_buckets)::float8,
    regr_slope(filled.event_count::float8, filled.bucket_number::float8)
      filter (where filled.is_complete) over last_buckets,
    filled.is_complete
  from filled
  cross join (
    select max(complete.bucket_number) as bucket_number from filled as complete where complete.is_complete
  ) as last_complete
  window last_buckets as (
    order by least(filled.bucket_number, last_complete.bucket_number)
    range between (_trend_points.window_size - 1)::bigint preceding and current row
  )
  order by filled.bucket_number;
end;
$$;

comment on function analytics._trend_points(text, text, timestamptz, timestamptz, int, int) is $$
Computes the result of `analytics.trend`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._trend_of_groups` and `analytics._shown`); null:
exact figures of all people. Averages and slopes are computed from the figures as shown.
$$;

grant execute on function analytics._trend_points(text, text, timestamptz, timestamptz, int, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trend_exact(
  event_name text, bucket text, since timestamptz, until timestamptz, window_size int
)
returns setof analytics.trend_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._trend_points($1, $2, $3, $4, $5, null);
$$;

alter function analytics._trend_exact(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics._trend_exact(text, text, timestamptz, timestamptz, int) is $$
Returns the result of `analytics.trend` with exact figures of all people, for admins and workers.
$$;

grant execute on function analytics._trend_exact(text, text, timestamptz, timestamptz, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trend_shown(
  event_name text, bucket text, since timestamptz, until timestamptz, window_size int
)
returns setof analytics.trend_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._trend_points($1, $2, $3, $4, $5, (select smallest_group from analytics.setting));
$$;

alter function analytics._trend_shown(text, text, timestamptz, timestamptz, int) owner to insights_reader;

comment on function analytics._trend_shown(text, text, timestamptz, timestamptz, int) is $$
Returns the result of `analytics.trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._trend_shown(text, text, timestamptz, timestamptz, int)
to insights_analyst;

create or replace function analytics.trend(
  event_name text,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  window_size int default 7
)
returns setof analytics.trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._trend_exact(text, text, timestamptz, timestamptz, int)', 'execute') then
    return query
    select *
    from analytics._trend_exact(trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size);
  else
    return query
    select *
    from analytics._trend_shown(trend.event_name, trend.bucket, trend.since, trend.until, trend.window_size);
  end if;
end;
$$;

comment on function analytics.trend(text, text, timestamptz, timestamptz, int) is $$
Returns the number of events of a type per time bucket, of the buckets from `since` until `until` (exclusive).
Buckets are in UTC, weeks start on Monday, and empty buckets are zero. The period is extended to whole buckets at both
ends: the figures of a bucket do not depend on the arguments. Each bucket has the numbers of events and distinct people,
the running average over the last `window_size` complete buckets, and the slope of the least-squares line through them,
in events per bucket.
A bucket that has not ended yet is not complete (`is_complete`). Its numbers are those until now, and are excluded from
average and slope, because they differ by the length of the bucket. The average and slope in its own row are those of
the last complete bucket before it; null when there is none. With the default arguments the last bucket is the current
day, which is not complete.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), rounded by `analytics._shown`; a bucket with fewer of them than
`analytics.setting.smallest_group` reads as an empty one, and averages and slopes are computed from the figures as
shown. Whole days are read from the rollup, and those that are queued for a refresh from the events: the result includes
every event that was stored when the function was called.
Errors: CF002 for an unknown event (with the most similar names), CF001 for an invalid argument, CF008 for more than
10,000 buckets.
$$;

grant execute on function analytics.trend(text, text, timestamptz, timestamptz, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trend.sql

--! Included analytics/functions/_active_days.sql
create or replace function analytics._active_days(out first_day date, out last_day date)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  select min(presence.day), max(presence.day)
  into first_day, last_day
  from track.presence
  join track.person_set_block as counted
    on counted.name = 'counted'
    and counted.block = presence.block
    and bit_count(counted.people & presence.people) > 0
  where presence.event_type_id = 0;
end;
$$;

comment on function analytics._active_days() is $$
Returns the first and the last day (UTC) with activity of counted people (events that are not automatic).
Null when there is none.
$$;

grant execute on function analytics._active_days() to insights_reader;
--! EndIncluded analytics/functions/_active_days.sql

--! Included analytics/functions/_learner_features.sql
/*
 * The single definition of the features of a learner as of a time, used by training and prediction. Whole days are read
 * from the rollup, or from the events where they are queued for a refresh, and the hours since the last midnight from
 * the events. Each part is limited to rows before the time; `known_at` is the time of the latest row used. Seconds and
 * gaps are summed as numeric and int, so that the result does not depend on the order of the rows.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      date_trunc('day', entry.as_of at time zone 'UTC') at time zone 'UTC' as midnight,
      (entry.as_of at time zone 'UTC')::date as today
    from unnest(_learner_features.moments) as entry (as_of)
  ),

  -- The items of each course, including the course itself.
  part as materialized (
    select course.item_id as course_id, item.item_id, item.kind, item.due_at, course.available_until
    from track.item as course
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
    join track.item on item.item_id = ancestor.item_id
    where course.kind = 'course'
      and (_learner_features.courses is null or course.item_id = any (_learner_features.courses))
  ),

  size as (
    select
      part.course_id,
      max(part.available_until) as available_until,
      count(*) filter (where part.kind not in ('course', 'module'))::float8 as items,
      count(*) filter (where part.kind = 'task')::float8 as tasks
    from part
    group by part.course_id
  ),

  -- Learners of a course at a time: enrolled earlier, not completed or dropped by then, and not opted out of analytics.
  taker as materialized (
    select enrolled.person_id, enrolled.course_id, enrolled.enrolled_at, moment.as_of, moment.midnight, moment.today
    from (
      select
        enrolment.person_id,
        enrolment.item_id as course_id,
        min(enrolment.enrolled_at) as enrolled_at,
        case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
      from track.enrolment
      join size on size.course_id = enrolment.item_id
      where enrolment.person_id <> 0
        -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment
      on enrolled.enrolled_at < moment.as_of
      and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  activity as materialized (
    select happened.*
    from track.activity_of(
      array(select person.person_id from person),
      '-infinity',
      (select max(moment.today) from moment)
    ) as happened
  ),

  day_of_item as materialized (
    select
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at,
      sum(happened.event_count - happened.automatic_count)::float8 as events,
      sum(extract(epoch from happened.engaged)) as seconds,
      bool_or(happened.event_type_id in (
        select coalesce(submission.merged_event_type_id, submission.event_type_id)
        from track.event_type as submission
        where submission.name in ('Task Submitted', 'Task Completed')
      )) as submitted,
      -- A grade by a teacher, or another automatic event, is not an activity of the learner.
      bool_or(happened.event_count > happened.automatic_count or happened.engaged > '0') as is_active
    from (
      select part.course_id, part.kind, part.due_at, activity.*
      from part
      join activity on activity.item_id = part.item_id
    ) as happened
    group by
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at
  ),

  day_of_course as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.day,
      sum(day_of_item.events) as events,
      sum(day_of_item.seconds) as seconds
    from day_of_item
    where day_of_item.is_active
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  viewed_today as materialized (
    select
      page_view.person_id, watched.as_of, page_view.event_id, page_view.item_id, page_view.ended_at,
      page_view.engaged, page_view.is_continued
    from (select distinct taker.person_id, taker.as_of, taker.midnight from taker) as watched
    join track.session
      on session.person_id = watched.person_id
      and session.ended_at >= watched.midnight
      and session.ended_at < watched.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= watched.midnight
    where watched.midnight < watched.as_of
  ),

  -- Since the last midnight: events of the learner, and page views of earlier sessions that were continued.
  today as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      1 as events,
      extract(epoch from opened.engaged) as seconds,
      event.occurred_at as known_at
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join viewed_today as opened
      on opened.person_id = event.person_id
      and opened.as_of = taker.as_of
      and opened.event_id = event.event_id
      and not opened.is_continued
    where taker.midnight < taker.as_of

    union all

    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      0,
      extract(epoch from viewed_today.engaged),
      viewed_today.ended_at
    from taker
    join viewed_today
      on viewed_today.is_continued
      and viewed_today.person_id = taker.person_id
      and viewed_today.as_of = taker.as_of
    join part on part.item_id = viewed_today.item_id and part.course_id = taker.course_id
  ),

  active_day as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      taker.today - day_of_course.day as age,
      day_of_course.day,
      day_of_course.events,
      day_of_course.seconds,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    select
      today.person_id, today.course_id, today.as_of,
      0,
      today.today,
      sum(today.events)::float8,
      coalesce(sum(today.seconds), 0),
      max(today.known_at)
    from today
    group by today.person_id, today.course_id, today.as_of, today.today
  ),

  -- The engaged time of a session is known at its end. The rollup already contains that of sessions in progress at the
  -- time, so it is subtracted.
  unfinished as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged)) as seconds
    from taker
    join track.session
      on session.person_id = taker.person_id
      and session.started_at >= taker.as_of - interval '168 hours'
      and session.started_at < taker.midnight
      and session.ended_at >= taker.as_of
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  active as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age between 1 and 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age between 1 and 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.seconds) as seconds,
      coalesce(sum(stepped.seconds) filter (where stepped.age between 1 and 7), 0) as seconds_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select active_day.*, (active_day.day - lag(active_day.day) over by_day) as gap
      from active_day
      window by_day as (
        partition by active_day.person_id, active_day.course_id, active_day.as_of
        order by active_day.day
      )
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  used as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
      and (day_of_item.is_active or day_of_item.submitted)
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where used.kind = 'task' and used.submitted_day < taker.today) as tasks,
      count(*) filter (
        where used.kind = 'task' and used.submitted_day < taker.today and used.due_at < taker.midnight
      ) as due_tasks,
      avg(used.submitted_day - (used.due_at at time zone 'UTC')::date)
        filter (where used.kind = 'task' and used.submitted_day < taker.today) as days_late
    from taker
    join used
      on used.person_id = taker.person_id
      and used.course_id = taker.course_id
      and used.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  learner as materialized (
    select distinct taker.person_id, taker.as_of, taker.today
    from taker
  ),

  anywhere as (
    select learner.person_id, learner.as_of, count(distinct activity.day) as active_days
    from learner
    join activity
      on activity.person_id = learner.person_id
      and activity.day >= learner.today - 7
      and activity.day < learner.today
      and (activity.event_count > activity.automatic_count or activity.engaged > '0')
    group by learner.person_id, learner.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, active.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(active.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(active.active_days, 0)::float8,
    coalesce(active.active_days_week_1, 0)::float8,
    coalesce(active.active_days_week_2, 0)::float8,
    coalesce(active.active_days_week_3, 0)::float8,
    coalesce(active.active_days_week_4, 0)::float8,
    coalesce(active.events, 0),
    coalesce(active.events_week_1, 0),
    coalesce(active.events_week_2, 0),
    greatest(coalesce(active.seconds, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    greatest(coalesce(active.seconds_week_1, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    active.mean_gap::float8,
    active.gap_deviation::float8,
    active.longest_gap::float8,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    coalesce(
      avg((coalesce(active.active_days_week_1, 0) > 0)::int::float8)
        filter (where get_bit(counted.people, (taker.person_id % 4096)::int) <> 0)
        over (partition by taker.course_id, taker.as_of),
      0
    ),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join active
    on active.person_id = taker.person_id
    and active.course_id = taker.course_id
    and active.as_of = taker.as_of
  left join unfinished
    on unfinished.person_id = taker.person_id
    and unfinished.course_id = taker.course_id
    and unfinished.as_of = taker.as_of
  left join breadth
    on breadth.person_id = taker.person_id
    and breadth.course_id = taker.course_id
    and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of
  left join track.person_set_block as counted on counted.name = 'counted' and counted.block = taker.person_id / 4096;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Returns the learners who take a course at each of the given times, with their features.
One row per learner, course and time. Events after the time are not used. `courses` null: all courses. People who have
opted out of the purpose `analytics` are excluded. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]) to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_features.sql

--! Included analytics/functions/_learner_outcomes.sql
create or replace function analytics._learner_outcomes(
  target text, moments timestamptz[], horizon interval, courses bigint[] default null
)
returns table (person_id bigint, course_id bigint, as_of timestamptz, outcome float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      (entry.as_of at time zone 'UTC')::date as since,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon)::date as until,
      (entry.as_of at time zone 'UTC' + _learner_outcomes.horizon) at time zone 'UTC' as ends_at
    from unnest(_learner_outcomes.moments) as entry (as_of)
  ),

  happened as (
    select activity.person_id, activity.item_id, activity.day, moment.as_of
    from moment
    join track.activity_of(
      null,
      (select min(earliest.since) from moment as earliest),
      (select max(latest.until) from moment as latest)
    ) as activity
      on activity.day >= moment.since
      and activity.day < moment.until
    -- A grade by a teacher, or another automatic event, is not an activity of the learner.
    where activity.event_count > activity.automatic_count
      or activity.engaged > '0'
  ),

  active as (
    select
      happened.person_id, ancestor.ancestor_item_id as course_id, happened.as_of,
      count(distinct happened.day)::float8 as days
    from happened
    join track.item_ancestor as ancestor on ancestor.item_id = happened.item_id
    join track.item as course on course.item_id = ancestor.ancestor_item_id and course.kind = 'course'
    where happened.person_id <> 0
      and (_learner_outcomes.courses is null or ancestor.ancestor_item_id = any (_learner_outcomes.courses))
    group by happened.person_id, ancestor.ancestor_item_id, happened.as_of
  ),

  taken as (
    select
      enrolment.person_id, enrolment.item_id as course_id, moment.as_of,
      bool_or(enrolment.status = 'completed' and ending.is_within) as completed,
      bool_or(enrolment.status = 'dropped' and ending.is_within) as dropped
    from moment
    join track.enrolment on enrolment.enrolled_at < moment.as_of
    cross join lateral (
      select enrolment.ended_at >= moment.as_of and enrolment.ended_at < moment.ends_at
    ) as ending (is_within)
    where _learner_outcomes.courses is null
      or enrolment.item_id = any (_learner_outcomes.courses)
    group by enrolment.person_id, enrolment.item_id, moment.as_of
  )

  select
    taken.person_id, taken.course_id, taken.as_of,
    case _learner_outcomes.target
      when 'dropout' then (
        (coalesce(active.days, 0) = 0 or coalesce(taken.dropped, false)) and not coalesce(taken.completed, false)
      )::int::float8
      when 'completion' then coalesce(taken.completed, false)::int::float8
      when 'activity' then coalesce(active.days, 0)
    end
  from taken
  left join active
    on active.person_id = taken.person_id
    and active.course_id = taken.course_id
    and active.as_of = taken.as_of;
end;
$$;

comment on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[]) is $$
Returns the outcomes of the learners who were enrolled at the given times (UTC midnights), within the horizon.
1 or 0 for `dropout` and `completion`, the number of active days for `activity`.
$$;

grant execute on function analytics._learner_outcomes(text, timestamptz[], interval, bigint[])
to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_outcomes.sql

--! Included analytics/train_predictions/train_predictions_step.sql
/* A definer: see analytics.train_predictions. */
create or replace function analytics.train_predictions_step(seed bigint default 0)
returns analytics.training_step
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_most_people constant int := 50;
  v_sessions bigint;
  v_sets bigint;
  v_target analytics.prediction_target;
  v_step analytics.training_step;
begin
  perform analytics._lock_training(train_predictions_step.seed);
  -- A training that started on another day, or with another seed, is about other data.
  if not exists (
    select
    from analytics.training
    where training.seed = train_predictions_step.seed
      and training.started_at >= date_trunc('day', now() at time zone 'UTC') at time zone 'UTC'
  ) then
    -- Refresh until a step finds fewer people than it may refresh. The queue need not be empty, because events may
    -- arrive all the time.
    v_sessions := (select sum(people) from track.refresh(v_most_people, 'track.session'));
    v_sets := (select sum(people) from track.refresh(v_most_people, 'track.person_set'));
    if greatest(v_sessions, v_sets) >= v_most_people then
      v_step.step := format('refreshed %s people', greatest(v_sessions, v_sets));
      v_step.finished := false;
      return v_step;
    end if;
    perform analytics._end_training(training.target) from analytics.training;
    perform analytics._begin_training(entry, train_predictions_step.seed)
    from analytics.prediction_target as entry
    order by entry.target;
  end if;
  select * into v_target
  from analytics.prediction_target as entry
  where entry.target = (select min(training.target) from analytics.training);
  v_step := analytics._train_step(
    v_target,
    (select training from analytics.training where training.target = v_target.target)
  );
  v_step.finished := not exists (select from analytics.training);
  return v_step;
end;
$$;

comment on function analytics.train_predictions_step(bigint) is $$
@behavior -*
Does the next step of `analytics.train_predictions` for all targets. Call it until `finished` is true.
Each call is bounded (some courses, or one algorithm) and continues after the last committed step, for clients that
share one session, as in the embedded database. The resulting models are the same.
Errors: CF001, CF010 (already running).
$$;

grant execute on function analytics.train_predictions_step(bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/train_predictions/train_predictions_step.sql

--! Included analytics/train_predictions/train_predictions.sql
/* A definer: it reads the activity of all people and writes models, and is granted to administrators and workers. */
create or replace function analytics.train_predictions(target text default null, seed bigint default 0)
returns setof ml.training
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_is_given constant boolean := train_predictions.target is not null;
  v_target analytics.prediction_target;
  v_training analytics.training;
  v_step analytics.training_step;
  v_trained int;
begin
  if v_is_given then
    perform analytics._prediction_target(train_predictions.target);
  end if;
  perform analytics._lock_training(train_predictions.seed);
  perform track.refresh(2147483647, 'track.session');
  perform track.refresh(2147483647, 'track.person_set');
  for v_target in
    select *
    from analytics.prediction_target as entry
    where not v_is_given
      or entry.target = train_predictions.target
    order by entry.target
  loop
    v_training := analytics._begin_training(v_target, train_predictions.seed);
    v_trained := 0;
    loop
      v_step := analytics._train_step(v_target, v_training);
      if (v_step.trained).version is not null then
        v_trained := v_trained + 1;
        return next v_step.trained;
      end if;
      exit when v_step.finished;
      select * into v_training from analytics.training where training.target = v_target.target;
    end loop;
    if v_is_given and v_trained = 0 then
      perform common.refuse('CF004', v_step.step, v_step.hint);
    end if;
  end loop;
end;
$$;

comment on function analytics.train_predictions(text, bigint) is $$
Trains the predictions about learners and deploys each version that is better than the deployed one.
`target`: `dropout`, `completion` or `activity`; null: all. The training data are weekly snapshots of the learners in
the set `counted` who took a course (`analytics.prediction_target.weeks` of them), with the features as of the snapshot
and the outcome by the end of the horizon.
The latest quarter is held out. Snapshots whose outcome was not known when it starts are not used, and a feature that
uses later data than its snapshot is refused (`ml.time_split`). A penalised linear model and boosted trees are
compared by log loss (calibrated) or by squared error.
Without a target, those with too little training data are skipped. `analytics.train_predictions_step` does the same in
many short transactions.
Errors: CF001, CF002 (unknown target), CF004 (too little data), CF010 (already running).
$$;

grant execute on function analytics.train_predictions(text, bigint) to insights_admin, insights_worker;
--! EndIncluded analytics/train_predictions/train_predictions.sql

--! Included analytics/functions/_course_id.sql
create or replace function analytics._course_id(course text)
returns bigint
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_course_id bigint;
begin
  -- A merged item is a further name of the other one.
  select item.item_id into v_course_id
  from track.item as known
  join track.item on item.item_id = coalesce(known.merged_item_id, known.item_id)
  where known.external_id = _course_id.course
    and item.kind = 'course'
    and (v_reads_all or track.teaches(item.item_id));
  if v_course_id is null and not v_reads_all then
    -- The same error for a course that does not exist.
    perform common.refuse(
      'CF002',
      format('you do not teach a course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      'track.taught_courses returns the courses that you teach.'
    );
  end if;
  if v_course_id is null then
    perform common.refuse(
      'CF002',
      format('there is no course "%s"', coalesce(left(_course_id.course, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            _course_id.course,
            (select array_agg(item.external_id) from track.item where item.kind = 'course')
          )
          || '"?',
        'Give the external id of an item of kind course.'
      )
    );
  end if;
  return v_course_id;
end;
$$;

comment on function analytics._course_id(text) is $$
Returns the key of a course by its external id, of an instructor only for a course that she teaches now.
Errors: CF002 (unknown course, names the nearest; the same for an instructor who does not teach it).
$$;

grant execute on function analytics._course_id(text) to insights_reader;
--! EndIncluded analytics/functions/_course_id.sql

--! Included analytics/functions/_predict_learners.sql
create or replace function analytics._predict_learners(
  target text, course text, as_of timestamptz, top int, lowest_first boolean
)
returns setof analytics.learner_prediction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_reads_all constant boolean := track.reads_all_people();
  v_course_id constant bigint := analytics._course_id(_predict_learners.course);
  v_project constant text := (analytics._prediction_target(_predict_learners.target)).project;
  v_version constant int := ml.deployed_version(v_project);
  v_features analytics.learner_features[];
  v_scores float8[];
begin
  perform common.check_count('top', _predict_learners.top, 1, 10000);
  select array_agg(chosen.feature order by chosen.place), array_agg(chosen.score order by chosen.place)
  into v_features, v_scores
  from (
    select
      scored.feature,
      scored.score,
      row_number() over (
        order by case when lowest_first then scored.score else -scored.score end, scored.person_id
      ) as place
    from analytics._learner_scores(_predict_learners.target, _predict_learners.as_of, v_course_id) as scored
  ) as chosen
  where chosen.place <= _predict_learners.top;
  if v_features is null then
    return;
  end if;

  return query
  with reason as (
    select
      moved.row_no,
      array_agg(
        row(moved.feature, moved.feature_value, moved.contribution)::ml.contribution order by moved.place
      ) as reasons
    from (
      select
        explained.*,
        row_number() over (
          partition by explained.row_no order by abs(explained.contribution) desc, explained.feature
        ) as place
      from ml.explain_each(v_project, v_features, v_version) as explained
      where explained.feature <> '(base)'
        and explained.contribution <> 0
        -- Instructors do not see what a learner does outside of their courses.
        and (v_reads_all or explained.feature <> 'active_days_anywhere_week_1')
    ) as moved
    where moved.place <= 5
    group by moved.row_no
  )

  select
    learner.rank::int, (learner.known).person_id, name.external_id, v_scores[learner.rank::int],
    coalesce(reason.reasons, '{}'), v_version, _predict_learners.as_of
  from (select known, row_number() over () as rank from unnest(v_features) as known) as learner
  left join reason on reason.row_no = learner.rank
  left join lateral (
    select identity.external_id
    from track.identity
    where identity.person_id = (learner.known).person_id
    order by identity.kind = 'user' desc, identity.identity_id
    limit 1
  ) as name on true
  order by learner.rank;
end;
$$;

comment on function analytics._predict_learners(text, text, timestamptz, int, boolean) is $$
Returns the learners of a course with the highest or lowest predictions, with reasons.
The reasons are the five features that changed the prediction most.
$$;

grant execute on function analytics._predict_learners(text, text, timestamptz, int, boolean) to insights_reader;
--! EndIncluded analytics/functions/_predict_learners.sql

--! Included analytics/functions/dropout_risk.sql
/* A definer owned by insights_reader: it reads the activity of people, and is granted to roles that may read it. */
create or replace function analytics.dropout_risk(course text, as_of timestamptz default now(), top int default 50)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('dropout', $1, $2, $3, false);
$$;

alter function analytics.dropout_risk(text, timestamptz, int) owner to insights_reader;

comment on function analytics.dropout_risk(text, timestamptz, int) is $$
Returns the learners of a course who are most likely to drop out, with reasons.
`score` is the probability that there is no further activity in the course within the horizon
(`analytics.prediction_target`; 14 days), or that it is dropped, without being completed. All learners are scored who
take the course as of the time, and who have not been idle for longer than `longest_idle` of the target. Only earlier
events are used.
The `top` learners with the highest scores are returned, each with the five features that changed the score most. The
contributions are exact shares of the distance of the score from the mean. The model is the deployed version of the
project `analytics.dropout`, trained by `analytics.train_predictions`.
People who have opted out of the purpose `analytics` are excluded. Instructors call it for courses that they teach now;
their reasons do not contain activity outside of the course. Errors: CF001 (as_of, top), CF002 (unknown course, or one
that the instructor does not teach), CF006 (not trained).
$$;

grant execute on function analytics.dropout_risk(text, timestamptz, int)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/dropout_risk.sql

--! Included analytics/functions/completion_probability.sql
/* A definer owned by insights_reader: it reads the activity of people, and is granted to roles that may read it. */
create or replace function analytics.completion_probability(
  course text, as_of timestamptz default now(), top int default 50
)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('completion', $1, $2, $3, true);
$$;

alter function analytics.completion_probability(text, timestamptz, int) owner to insights_reader;

comment on function analytics.completion_probability(text, timestamptz, int) is $$
Returns the learners of a course who are least likely to complete it soon, with reasons.
`score` is the probability that the course is completed within the horizon (`analytics.prediction_target`; 28 days).
All learners are scored who take the course as of the time, and who have not been idle for longer than `longest_idle`
of the target. Only earlier events are used.
The `top` learners with the lowest scores are returned, each with the five features that changed the score most. The
contributions are exact shares of the distance of the score from the mean. The model is the deployed version of the
project `analytics.completion`, trained by `analytics.train_predictions`.
People who have opted out of the purpose `analytics` are excluded. Instructors call it for courses that they teach now;
their reasons do not contain activity outside of the course. Errors: CF001 (as_of, top), CF002 (unknown course, or one
that the instructor does not teach), CF006 (not trained).
$$;

grant execute on function analytics.completion_probability(text, timestamptz, int)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/completion_probability.sql

--! Included analytics/functions/expected_next_week_activity.sql
/* A definer owned by insights_reader: it reads the activity of people, and is granted to roles that may read it. */
create or replace function analytics.expected_next_week_activity(
  course text, as_of timestamptz default now(), top int default 50
)
returns setof analytics.learner_prediction
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  select * from analytics._predict_learners('activity', $1, $2, $3, true);
$$;

alter function analytics.expected_next_week_activity(text, timestamptz, int) owner to insights_reader;

comment on function analytics.expected_next_week_activity(text, timestamptz, int) is $$
Returns the learners of a course with the least expected activity next week, with reasons.
`score` is the expected number of days with activity in the course within the horizon (`analytics.prediction_target`;
7 days). All learners are scored who take the course as of the time, and who have not been idle for longer than
`longest_idle` of the target. Only earlier events are used.
The `top` learners with the lowest scores are returned, each with the five features that changed the score most. The
contributions are exact shares of the distance of the score from the mean. The model is the deployed version of the
project `analytics.activity`, trained by `analytics.train_predictions`.
People who have opted out of the purpose `analytics` are excluded. Instructors call it for courses that they teach now;
their reasons do not contain activity outside of the course. Errors: CF001 (as_of, top), CF002 (unknown course, or one
that the instructor does not teach), CF006 (not trained).
$$;

grant execute on function analytics.expected_next_week_activity(text, timestamptz, int)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/expected_next_week_activity.sql

--! Included analytics/functions/course_outlook.sql
create or replace function analytics._course_outlook(target text, as_of timestamptz, smallest_group int)
returns setof analytics.course_outlook
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  with predicted as (
    select
      item.external_id,
      item.title,
      count(*) as person_count,
      avg(scored.score) as mean_score,
      percentile_cont(0.25) within group (order by scored.score) as lower_quartile,
      percentile_cont(0.75) within group (order by scored.score) as upper_quartile
    from analytics._learner_scores(_course_outlook.target, _course_outlook.as_of) as scored
    join track.item on item.item_id = scored.course_id
    where _course_outlook.smallest_group is null or track.is_in_person_set('counted', scored.person_id)
    group by item.item_id, item.external_id, item.title
    having count(*) >= coalesce(_course_outlook.smallest_group, 1)
  ),

  shown as (
    select
      predicted.external_id,
      predicted.title,
      analytics._shown(predicted.person_count, predicted.person_count, _course_outlook.smallest_group)::bigint
        as person_count,
      analytics._shown_mean(predicted.mean_score, predicted.person_count, _course_outlook.smallest_group)
        as mean_score,
      quartile.lower_quartile,
      quartile.upper_quartile
    from predicted
    cross join lateral (
      select
        analytics._shown_mean(
          predicted.lower_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as lower_quartile,
        analytics._shown_mean(
          predicted.upper_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as upper_quartile
    ) as quartile
  )

  select *
  from shown
  order by shown.mean_score desc nulls last, shown.external_id;
end;
$$;

comment on function analytics._course_outlook(text, timestamptz, int) is $$
Computes the result of `analytics.course_outlook`, with the privileges of the caller.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all learners.
$$;

grant execute on function analytics._course_outlook(text, timestamptz, int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._course_outlook_exact(target text, as_of timestamptz)
returns setof analytics.course_outlook
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
  select * from analytics._course_outlook($1, $2, null);
$$;

alter function analytics._course_outlook_exact(text, timestamptz) owner to insights_reader;

comment on function analytics._course_outlook_exact(text, timestamptz) is $$
Returns the result of `analytics.course_outlook` with exact figures of all learners, for admins and workers.
$$;

grant execute on function analytics._course_outlook_exact(text, timestamptz)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._course_outlook_shown(target text, as_of timestamptz)
returns setof analytics.course_outlook
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
  select *
  from analytics._course_outlook($1, date_trunc('day', $2), (select smallest_group from analytics.setting));
$$;

alter function analytics._course_outlook_shown(text, timestamptz) owner to insights_reader;

comment on function analytics._course_outlook_shown(text, timestamptz) is $$
Returns the result of `analytics.course_outlook` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._course_outlook_shown(text, timestamptz)
to insights_analyst;

create or replace function analytics.course_outlook(target text default 'dropout', as_of timestamptz default now())
returns setof analytics.course_outlook
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._course_outlook_exact(text, timestamptz)', 'execute') then
    return query
    select *
    from analytics._course_outlook_exact(course_outlook.target, course_outlook.as_of);
  else
    return query
    select *
    from analytics._course_outlook_shown(course_outlook.target, course_outlook.as_of);
  end if;
end;
$$;

comment on function analytics.course_outlook(text, timestamptz) is $$
Returns the predictions for the learners of each course, aggregated.
The mean probability of `dropout` or `completion`, or the mean expected `activity`, as of a time.
For admins and workers, figures are exact, of all learners. Analysts see figures of learners in the set `counted`, as of
the beginning of the day (UTC), rounded by `analytics._shown` and `analytics._shown_mean`, in the order of what is
shown. Courses with fewer learners than `analytics.setting.smallest_group` are excluded; a mean is null for fewer than
1.5 times as many, and quartiles for fewer than 4.5 times as many.
Errors: CF001 (as_of), CF002 (unknown target), CF006 (not trained).
$$;

grant execute on function analytics.course_outlook(text, timestamptz)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_outlook.sql

--! Included analytics/functions/_course_people.sql
create or replace function analytics._course_people(course_id bigint, people bigint[])
returns table (person_id bigint, is_enrolled boolean, is_shown boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with counted as materialized (
    select counted_block.block, counted_block.people
    from track.person_set_blocks('counted') as counted_block
  ),

  decided as (
    select
      candidate.person_id,
      exists (
        select
        from track.enrolment
        where enrolment.person_id = candidate.person_id
          and enrolment.item_id = _course_people.course_id
      ) as is_enrolled,
      -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
      v_by_default <> (
        candidate.person_id in (
          select decision.person_id
          from privacy.latest_decisions('analytics', _course_people.people) as decision
          where decision.granted <> v_by_default
        )
      ) as is_shown
    from (select distinct listed.person_id from unnest(_course_people.people) as listed (person_id)) as candidate
    where candidate.person_id <> 0
  )

  select decided.person_id, decided.is_enrolled, decided.is_shown
  from decided
  where decided.is_enrolled
    or (
      decided.is_shown
      and exists (
        select
        from counted
        where counted.block = decided.person_id / 4096
          and get_bit(counted.people, (decided.person_id % 4096)::int) <> 0
      )
      and not exists (
        select
        from track.item_ancestor as ancestor
        join track.applied_item_role as item_role on item_role.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = _course_people.course_id
          and item_role.person_id = decided.person_id
      )
    );
end;
$$;

comment on function analytics._course_people(bigint, bigint[]) is $$
Returns which of the given people are learners of a course, for its instructors; the caller has found them active in it.
These are the enrolled people, and of the others those who are counted, have no role in the course and have not opted
out of `analytics`. `is_shown`: whether name and activity may be shown; false for people who have opted out.
$$;

grant execute on function analytics._course_people(bigint, bigint[]) to insights_reader;
--! EndIncluded analytics/functions/_course_people.sql

--! Included analytics/functions/course_learners.sql
create or replace function analytics._people_active_in(items bigint[], since timestamptz, until timestamptz)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the number of items.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_people_active_in.since at time zone 'UTC')::date;
  v_end_day constant date := case
    when isfinite(_people_active_in.until) then (_people_active_in.until at time zone 'UTC')::date + 1
    else 'infinity'
  end;
begin
  return array(
    select item_month.part::bigint * 32768 + listed.person
    from track.item_month
    cross join lateral unnest(item_month.people) as listed (person)
    where item_month.item_id = any (_people_active_in.items)
      and item_month.month > v_first_day - 31
      and item_month.month < v_end_day

    union

    select queued.person_id
    from track.queued_days(v_first_day, v_end_day) as entry
    cross join lateral unnest(entry.people) as queued (person_id)
  );
end;
$$;

comment on function analytics._people_active_in(bigint[], timestamptz, timestamptz) is $$
Returns the people who may have used one of the items between two times.
These are all that did, and all people whose events of these days are queued for a refresh.
$$;

grant execute on function analytics._people_active_in(bigint[], timestamptz, timestamptz) to insights_reader;

create or replace function analytics._course_learners(course_id bigint, since timestamptz, until timestamptz)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the number of people.
set plan_cache_mode to force_custom_plan
set jit to off
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _course_learners.course_id
  );
  v_people bigint[];
  v_shown bigint[];
begin
  select array_agg(learner.person_id), coalesce(array_agg(learner.person_id) filter (where learner.is_shown), '{}')
  into v_people, v_shown
  from analytics._course_people(
    _course_learners.course_id,
    array(
      select enrolment.person_id
      from track.enrolment
      where enrolment.item_id = _course_learners.course_id
    ) || analytics._people_active_in(v_items, _course_learners.since, _course_learners.until)
  ) as learner;

  return query
  with part as materialized (
    select item.item_id, item.kind
    from track.item
    where item.item_id = any (v_items)
  ),

  size as (
    select
      count(*) filter (where part.kind not in ('course', 'module')) as items,
      count(*) filter (where part.kind = 'task') as tasks
    from part
  ),

  -- A grade by a teacher, or another automatic event, is not an activity of the learner.
  happened as materialized (
    select event.person_id, event.occurred_at, event.item_id, part.kind, event_type.name as event
    from track.event
    join part on part.item_id = event.item_id
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_shown)
      and event.item_id = any (v_items)
      and event.occurred_at >= _course_learners.since
      and event.occurred_at < _course_learners.until
  ),

  active as (
    select
      happened.person_id,
      min(happened.occurred_at) as first_active_at,
      max(happened.occurred_at) as last_active_at,
      count(distinct (happened.occurred_at at time zone 'UTC')::date) as active_days,
      count(*) as event_count,
      count(distinct happened.item_id) filter (where happened.kind not in ('course', 'module')) as used_items,
      count(distinct happened.item_id) filter (
        where happened.kind = 'task' and happened.event in ('Task Submitted', 'Task Completed')
      ) as submitted_tasks
    from happened
    group by happened.person_id
  ),

  viewed as (
    select page_view.person_id, sum(page_view.engaged) as engaged
    from track.page_view
    where page_view.person_id = any (v_shown)
      and page_view.item_id = any (v_items)
      and page_view.started_at >= _course_learners.since
      and page_view.started_at < _course_learners.until
    group by page_view.person_id
  ),

  enrolled as (
    select
      enrolment.person_id,
      -- In the order of the alphabet: active, or else completed, or else dropped.
      min(enrolment.status) as status,
      min(enrolment.enrolled_at) as enrolled_at,
      case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
    from track.enrolment
    where enrolment.person_id = any (v_people)
      and enrolment.item_id = _course_learners.course_id
    group by enrolment.person_id
  ),

  trait as (
    select distinct on (trait.person_id, trait.name)
      trait.person_id, trait.name, left(trait.value #>> '{}', 256) as value
    from track.trait
    where trait.person_id = any (v_shown)
      and trait.name in ('name', 'firstName', 'lastName')
      and jsonb_typeof(trait.value) = 'string'
    order by trait.person_id, trait.name, trait.set_at desc, trait.identity_id
  ),

  named as (
    select
      trait.person_id,
      coalesce(
        max(nullif(trait.value, '')) filter (where trait.name = 'name'),
        nullif(concat_ws(
          ' ',
          max(nullif(trait.value, '')) filter (where trait.name = 'firstName'),
          max(nullif(trait.value, '')) filter (where trait.name = 'lastName')
        ), '')
      ) as name
    from trait
    group by trait.person_id
  )

  select
    identity.external_id,
    named.name,
    enrolled.status,
    enrolled.enrolled_at,
    enrolled.ended_at,
    active.first_active_at,
    active.last_active_at,
    case when shown.is_shown then coalesce(active.active_days, 0)::int end,
    case when shown.is_shown then coalesce(active.event_count, 0) end,
    case when shown.is_shown then coalesce(viewed.engaged, '0') end,
    case when shown.is_shown then coalesce(active.used_items, 0)::int end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0)::int end,
    case when shown.is_shown then coalesce(active.used_items, 0) / nullif(size.items, 0)::float8 end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0) / nullif(size.tasks, 0)::float8 end
  from unnest(v_people) as learner (person_id)
  cross join size
  cross join lateral (select learner.person_id = any (v_shown) as is_shown) as shown
  -- The key of a person is that of its oldest user identity.
  join track.identity on identity.identity_id = learner.person_id
  left join enrolled on enrolled.person_id = learner.person_id
  left join active on active.person_id = learner.person_id
  left join viewed on viewed.person_id = learner.person_id
  left join named on named.person_id = learner.person_id
  where enrolled.person_id is not null
    or active.person_id is not null
    or viewed.engaged > '0'
  order by identity.external_id;
end;
$$;

comment on function analytics._course_learners(bigint, timestamptz, timestamptz) is $$
Computes the result of `analytics.course_learners`, with the privileges of the caller, for any course.
$$;

grant execute on function analytics._course_learners(bigint, timestamptz, timestamptz) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for instructors in their own courses only. */
create or replace function analytics.course_learners(
  course text, since timestamptz default '-infinity', until timestamptz default 'infinity'
)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(course_learners.course);
begin
  perform common.check_period(course_learners.since, course_learners.until);
  return query
  select *
  from analytics._course_learners(v_course_id, course_learners.since, course_learners.until);
end;
$$;

alter function analytics.course_learners(text, timestamptz, timestamptz) owner to insights_reader;

comment on function analytics.course_learners(text, timestamptz, timestamptz) is $$
Returns the learners of a course, with their enrolment and their activity in the course between two times.
`until` is exclusive. Instructors call it for courses that they teach now.
Learners are the enrolled people, and those who were active in the course within the period without an enrolment. Of the
latter, anonymous browsers, excluded people (`track.exclude_person`) and people with a role in the course are left out.
Figures are exact and about the course only, including what it contains. Events count as soon as they are stored;
engaged time, and who is counted, are as of the last refresh.
Of people who have opted out of the purpose `analytics`, only the enrolment is returned.
Errors: CF001 for a period, CF002 for an unknown course, or one that the instructor does not teach.
$$;

grant execute on function analytics.course_learners(text, timestamptz, timestamptz)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_learners.sql

--! Included analytics/functions/course_journey.sql
create or replace function analytics._course_journey(
  course_id bigint, person text, since timestamptz, until timestamptz
)
returns setof analytics.course_action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id constant bigint := (
    select learner.person_id
    from track.identity
    cross join lateral analytics._course_people(_course_journey.course_id, array[identity.person_id]) as learner
    where identity.external_id = _course_journey.person
      and identity.kind = 'user'
      and learner.is_shown
  );
begin
  return query
  select
    event.occurred_at,
    event_type.name,
    item.external_id,
    item.kind,
    item.title,
    page_view.engaged,
    event_type.is_automatic or source.is_automatic
  from track.event
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  join track.item_ancestor as ancestor
    on ancestor.item_id = event.item_id
    and ancestor.ancestor_item_id = _course_journey.course_id
  join track.item on item.item_id = event.item_id
  left join track.page_view
    on page_view.person_id = event.person_id
    and page_view.event_id = event.event_id
    and not page_view.is_continued
  where event.person_id = v_person_id
    and event.occurred_at >= _course_journey.since
    and event.occurred_at < _course_journey.until
  order by event.occurred_at, event.event_id;
end;
$$;

comment on function analytics._course_journey(bigint, text, timestamptz, timestamptz) is $$
Computes the result of `analytics.course_journey`, with the privileges of the caller, for any course.
$$;

grant execute on function analytics._course_journey(bigint, text, timestamptz, timestamptz) to insights_reader;

/* A definer owned by insights_reader: it reads the events of people, for instructors in their own courses only. */
create or replace function analytics.course_journey(
  course text,
  person text,
  since timestamptz default (now() at time zone 'UTC' - interval '30 days') at time zone 'UTC',
  until timestamptz default 'infinity'
)
returns setof analytics.course_action
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(course_journey.course);
begin
  perform common.check_period(course_journey.since, course_journey.until);
  return query
  select *
  from analytics._course_journey(v_course_id, course_journey.person, course_journey.since, course_journey.until);
end;
$$;

alter function analytics.course_journey(text, text, timestamptz, timestamptz) owner to insights_reader;

comment on function analytics.course_journey(text, text, timestamptz, timestamptz) is $$
Returns what a learner did in a course between two times (`until` exclusive), in order of time.
`person` is a `userId`. Instructors call it for courses that they teach now. Only events of the course and of what it
contains are returned, without their properties and sessions, which may tell what the person did elsewhere.
No rows for an unknown person, and for people whose activity `analytics.course_learners` does not return.
Errors: CF001 for a period, CF002 for an unknown course, or one that the instructor does not teach.
$$;

grant execute on function analytics.course_journey(text, text, timestamptz, timestamptz)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_journey.sql

-- from analytics/policies.sql
grant select on analytics.item_popularity to insights_reader;

--! Included recommend/functions/_interactions_of.sql
create or replace function recommend._event_names(out event_type_ids int[], out events text[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- A weight of the name that a type has now, or else of one that it had before.
  with recursive former as (
    select event_type.event_type_id, event_type.name, event_type.former_event_type_id, 0 as depth
    from track.event_type

    union all

    select former.event_type_id, event_type.name, event_type.former_event_type_id, former.depth + 1
    from former
    join track.event_type on event_type.event_type_id = former.former_event_type_id
  ),

  weighed as (
    select distinct on (former.event_type_id) former.event_type_id, event_weight.event
    from former
    join recommend.event_weight on event_weight.event = former.name
    order by former.event_type_id, former.depth
  ),

  -- Of a merged name: the weight of its target, or else its own.
  named as (
    select named.event_type_id, coalesce(target.event, own.event) as event
    from track.event_type as named
    left join weighed as target on target.event_type_id = named.merged_event_type_id
    left join weighed as own on own.event_type_id = named.event_type_id
  )

  select array_agg(named.event_type_id), array_agg(named.event)
  into _event_names.event_type_ids, _event_names.events
  from named
  where named.event is not null;
end;
$$;

comment on function recommend._event_names() is $$
@behavior -queryField
Returns the event types of messages, with the row of `recommend.event_weight` that applies to events of this name.
$$;

grant execute on function recommend._event_names() to insights_reader, insights_learner;

create or replace function recommend._interactions_of(people bigint[])
returns setof recommend.interaction
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights constant record := recommend._event_names();
begin
  return query
  with counted as (
    select
      event.person_id,
      event.item_id,
      event_weight.weight * least(count(*), event_weight.most_counted) as weight,
      count(*) as event_count,
      min(event.occurred_at) as first_at,
      max(event.occurred_at) as last_at,
      max(event.occurred_at) filter (where event_weight.completes) as completed_at,
      max(event.occurred_at) filter (where event_weight.dismisses) as dismissed_at
    from track.event
    join unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
      on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    join recommend.event_weight on event_weight.event = named.event
    where event.person_id = any (_interactions_of.people)
      and event.person_id <> 0
      and event.item_id is not null
    group by event.person_id, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  )

  select
    counted.person_id,
    counted.item_id,
    sum(counted.weight)::real,
    sum(counted.event_count)::int,
    min(counted.first_at),
    max(counted.last_at),
    max(counted.completed_at),
    max(counted.dismissed_at)
  from counted
  group by counted.person_id, counted.item_id;
end;
$$;

comment on function recommend._interactions_of(bigint[]) is $$
Computes the interactions of the given people from their events.
The result is the same as the rows of `recommend.interaction` after a refresh.
$$;

grant execute on function recommend._interactions_of(bigint[]) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_interactions_of.sql

--! Included recommend/functions/_history.sql
create or replace function recommend._history(
  person_id bigint,
  kind text
)
returns table (item_id bigint, strength real, is_left_out boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  -- Whether events are queued for the refresh. Then the stored interactions are incomplete.
  v_is_behind constant boolean := exists (
    select from track.stale where stale.person_id = _history.person_id
  ) or exists (
    select
    from track.changed
    where changed.person_id = _history.person_id
      and changed.consumer = 'recommend.interaction'
  );
begin
  -- Without consent no data is read.
  if not privacy.allowed(_history.person_id, 'personalization') then
    return;
  end if;

  return query
  -- Items that the person teaches or wrote, with all that they contain: her use is not that of a learner.
  with own as materialized (
    select distinct ancestor.item_id
    from track.applied_item_role as item_role
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
    where item_role.person_id = _history.person_id
  ),

  stored as (
    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend.interaction
    where interaction.person_id = _history.person_id
      and not v_is_behind

    union all

    select interaction.item_id, interaction.weight, interaction.completed_at, interaction.dismissed_at
    from recommend._interactions_of(array[_history.person_id]) as interaction
    where v_is_behind
  ),

  leaf as (
    select stored.item_id, stored.weight, stored.completed_at is not null or stored.dismissed_at is not null as is_over
    from stored

    union all

    -- An enrolment that the application reports counts as taken, with any status.
    select enrolment.item_id, v_full_weight, true
    from track.enrolment
    where enrolment.person_id = _history.person_id
  )

  select
    target.item_id,
    least(sum(leaf.weight::float8) / v_full_weight, 1)::real,
    -- An item is left out when the item itself is over, not when only a part of it is.
    sum(leaf.weight::float8) >= v_full_weight or bool_or(leaf.is_over and ancestor.depth = 0)
  from leaf
  join track.item_ancestor as ancestor on ancestor.item_id = leaf.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _history.kind
    and leaf.item_id not in (select own.item_id from own)
  group by target.item_id

  union all

  select target.item_id, 0, true
  from own
  join track.item as target on target.item_id = own.item_id
  where target.kind = _history.kind;
end;
$$;

comment on function recommend._history(bigint, text) is $$
@behavior -*
Returns the items of a kind that a person has interacted with, as far as the caller may read them.
`strength` is from 0 to 1, summed over what an item contains. `is_left_out` is true for an item that is not
recommended: taken, finished, dismissed or enrolled in, or one that the person teaches or wrote, whose strength is 0 as
of all that it contains. Events that the refresh has not processed yet are included.
Empty for a person who has opted out of `personalization`.
$$;

grant execute on function recommend._history(bigint, text) to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_history.sql

--! Included recommend/functions/_rank_items.sql
create or replace function recommend._best_items(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int,
  model_id bigint,
  out item_numbers int[],
  out item_ids bigint[],
  out external_ids text[],
  out titles text[]
)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
begin
  with part as (
    select taken.strength, sum(item_weight.weights) as weights
    from unnest(_best_items.items, _best_items.strengths) as taken (item_id, strength)
    join recommend.item_weight
      on item_weight.model_id = _best_items.model_id
      and item_weight.item_id = taken.item_id
    group by taken.strength
  ),

  -- The rows are summed per strength before the multiplication, because most strengths are 1.
  total as (
    select sum(
      case
        when part.strength = 1 then part.weights
        else part.weights * array_fill(part.strength, array[vector_dims(part.weights)])::vector
      end
    ) as scores
    from part
  ),

  scored as (
    select entry.item_no, entry.score
    from total
    cross join lateral unnest(total.scores::real[]) with ordinality as entry (score, item_no)
    order by entry.score desc, entry.item_no
  ),

  -- Reads the scores in order, and looks up items only until there are enough.
  best as (
    select scored.item_no, item.item_id, item.external_id, item.title
    from scored
    join recommend.item_weight
      on item_weight.model_id = _best_items.model_id
      and item_weight.item_no = scored.item_no
    join track.item on item.item_id = item_weight.item_id
    where item.kind = _best_items.kind
      and item.item_id <> all (_best_items.left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by scored.score desc, scored.item_no
    limit _best_items.top
  )

  select array_agg(best.item_no), array_agg(best.item_id), array_agg(best.external_id), array_agg(best.title)
  into item_numbers, item_ids, external_ids, titles
  from best;
end;
$$;

comment on function recommend._best_items(text, bigint[], real[], bigint[], int, bigint) is $$
@behavior -*
Returns the items of a kind with the highest scores of an EASE model, for a person with the given items.
The arrays have one element per item, best first.
$$;

create or replace function recommend._rank_by_model(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int,
  model_id bigint,
  version int,
  secret recommend.secret,
  asked_at text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_numbers int[];
  v_items bigint[];
  v_external_ids text[];
  v_titles text[];
begin
  select best.item_numbers, best.item_ids, best.external_ids, best.titles
  into v_numbers, v_items, v_external_ids, v_titles
  from recommend._best_items(
    _rank_by_model.kind, _rank_by_model.items, _rank_by_model.strengths, _rank_by_model.left_out, _rank_by_model.top,
    _rank_by_model.model_id
  ) as best;

  return query
  /*
   * The contribution of each known item to each of the best items. B[i,j] = -P[i,j] / P[j,j] and P is symmetric, so
   * B[i,j] = B[j,i] P[i,i] / P[j,j]: only the rows of the few best items are read, not those of all known items.
   */
  with known as (
    select item_weight.item_id, item_weight.item_no, item_weight.diagonal, taken.strength
    from unnest(_rank_by_model.items, _rank_by_model.strengths) as taken (item_id, strength)
    join recommend.item_weight
      on item_weight.model_id = _rank_by_model.model_id
      and item_weight.item_id = taken.item_id
    where taken.strength > 0
  ),

  best as materialized (
    select found.n, item_weight.diagonal, item_weight.weights::real[] as weights
    from unnest(v_numbers) with ordinality as found (item_no, n)
    join recommend.item_weight
      on item_weight.model_id = _rank_by_model.model_id
      and item_weight.item_no = found.item_no
  ),

  contribution as materialized (
    select
      best.n,
      known.item_id as because_id,
      known.strength::float8 * best.weights[known.item_no] * known.diagonal / best.diagonal as contribution
    from best
    cross join known
  ),

  placed as (
    select
      contribution.*,
      row_number() over (
        partition by contribution.n
        order by abs(contribution.contribution) desc, contribution.because_id
      ) as place
    from contribution
  ),

  explained as (
    select
      placed.n,
      -- Summed in the order of the reasons, so that the score is exactly the sum of the returned contributions.
      sum(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
        + coalesce(sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons), 0)
        as score,
      array_agg(placed.because_id order by placed.place) filter (where placed.place <= v_most_reasons) as because_ids,
      array_agg(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
        as contributions,
      count(*) - v_most_reasons as other_count,
      sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons) as other_contribution
    from placed
    group by placed.n
  ),

  ranked as (
    select
      row_number() over (order by explained.score desc, explained.n) as rank,
      v_items[explained.n] as item_id,
      explained.*
    from explained
  )

  select
    ranked.rank::int,
    ranked.item_id,
    v_external_ids[ranked.n],
    v_titles[ranked.n],
    ranked.score,
    array(
      select row('item', named.external_id, named.title, because.contribution)::recommend.reason
      from unnest(ranked.because_ids, ranked.contributions) with ordinality as because (item_id, contribution, place)
      cross join lateral (
        -- "offset 0" makes the planner do one index lookup per item instead of reading all items.
        select item.external_id, item.title
        from track.item
        where item.item_id = because.item_id
        offset 0
      ) as named
      order by because.place
    ) || case
      when ranked.other_count > 0
        then array[
          row('others', null, format('%s more', ranked.other_count), ranked.other_contribution)::recommend.reason
        ]
      else '{}'
    end,
    'model',
    _rank_by_model.version,
    recommend._sign(
      concat_ws('.', _rank_by_model.model_id, ranked.item_id, ranked.rank, 1, _rank_by_model.asked_at),
      (_rank_by_model.secret).inner_key,
      (_rank_by_model.secret).outer_key
    )
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_by_model(
  text, bigint[], real[], bigint[], int, bigint, int, recommend.secret, text
) is $$
@behavior -*
Returns the best items of a kind by an EASE model, for a person with the given items, with reasons.
$$;

create or replace function recommend._rank_by_popularity(
  kind text,
  left_out bigint[],
  top int,
  secret recommend.secret,
  asked_at text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with counted as (
    select popular.item_id, popular.popularity
    from recommend._popularity(_rank_by_popularity.kind) as popular
  ),

  ranked as (
    select
      row_number() over (order by counted.popularity desc, item.item_id) as rank,
      item.item_id,
      item.external_id,
      item.title,
      counted.popularity
    from counted
    join track.item using (item_id)
    where item.item_id <> all (_rank_by_popularity.left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by counted.popularity desc, item.item_id
    limit _rank_by_popularity.top
  )

  select
    ranked.rank::int,
    ranked.item_id,
    ranked.external_id,
    ranked.title,
    ranked.popularity,
    array[row('popularity', null, 'Popular with all learners', ranked.popularity)::recommend.reason],
    'popularity',
    null::int,
    recommend._sign(
      concat_ws('.', 0, ranked.item_id, ranked.rank, 1, _rank_by_popularity.asked_at),
      (_rank_by_popularity.secret).inner_key,
      (_rank_by_popularity.secret).outer_key
    )
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_by_popularity(text, bigint[], int, recommend.secret, text) is $$
@behavior -*
Returns the most popular items of a kind, for a person without known items.
$$;

/*
 * A definer: no role may read the weights, the popularity and the signing keys. The history of the person is an
 * argument, and no data about people is read, so that the result contains only what the models show to all callers.
 */
create or replace function recommend._rank_items(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_left_out constant bigint[] := coalesce(_rank_items.left_out, '{}');
  v_asked_at constant text := floor(extract(epoch from now()))::text;
  v_secret recommend.secret;
  v_model ml.model;
begin
  select * into v_secret
  from recommend.secret;
  select * into v_model
  from recommend._deployed_model(_rank_items.kind);

  if exists (
    select
    from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
    join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
    where taken.strength > 0
  ) then
    return query
    select *
    from recommend._rank_by_model(
      _rank_items.kind, _rank_items.items, _rank_items.strengths, v_left_out, _rank_items.top,
      v_model.model_id, v_model.version, v_secret, v_asked_at
    );
  else
    return query
    select *
    from recommend._rank_by_popularity(_rank_items.kind, v_left_out, _rank_items.top, v_secret, v_asked_at);
  end if;
end;
$$;

comment on function recommend._rank_items(text, bigint[], real[], bigint[], int) is $$
@behavior -*
Returns the best items of a kind for a person with the given items, best first.
Items are ranked by the deployed model, or by popularity when the model contains none of the given items with a strength
above 0. Items in `left_out` and items that are not available now are excluded.
$$;

grant execute on function recommend._rank_items(text, bigint[], real[], bigint[], int)
to insights_reader, insights_learner;
--! EndIncluded recommend/functions/_rank_items.sql

--! Included recommend/functions/for_me.sql
create or replace function recommend.for_me(
  top int default 10,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  perform recommend._check(for_me.top, for_me.kind);
  return query
  select *
  from recommend._recommend(track.current_person_id(), for_me.top, for_me.kind);
end;
$$;

comment on function recommend.for_me(int, text) is $$
Returns recommended items for the signed-in person, best first, each with reasons that add up to its score.
Excluded are items that the person has taken, finished, dismissed or enrolled in, those that she teaches or wrote, and
items that are not available now. Events count as soon as they are stored. Items are ranked by popularity for a person
without interactions, and for one who has opted out of `personalization`.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_me(int, text) to insights_learner;
--! EndIncluded recommend/functions/for_me.sql

--! Included recommend/functions/for_person.sql
/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_person(
  person text,
  top int default 10,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  if nullif(btrim(for_person.person), '') is null then
    perform common.refuse('CF001', 'the person is ' || coalesce('"' || for_person.person || '"', 'null'),
      'Give the userId or anonymousId that was sent with events.');
  end if;
  perform recommend._check(for_person.top, for_person.kind);
  return query
  select *
  from recommend._recommend(track.find_person(for_person.person), for_person.top, for_person.kind);
end;
$$;

alter function recommend.for_person(text, int, text) owner to insights_reader;

comment on function recommend.for_person(text, int, text) is $$
Returns recommended items for a person, best first, each with reasons that add up to its score.
`person` is a `userId` or `anonymousId`. Excluded are items that the person has taken, finished, dismissed or enrolled
in, those that she teaches or wrote, and items that are not available now. Events count as soon as they are stored.
Items are ranked by popularity for an unknown person, and for one who has opted out of `personalization`; `basis` is
then `popularity`.
Errors: CF001 for an empty name or `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_person(text, int, text) to insights_admin, insights_worker;
--! EndIncluded recommend/functions/for_person.sql

--! Included recommend/train/_training_rows.sql
create or replace function recommend._training_rows(kind text)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  return query
  with leaf as (
    select interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at
    from recommend.interaction

    union all

    -- Enrolments that the application reports count as taken.
    select enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at
    from track.enrolment
  ),

  allowed as (
    select leaf.*
    from leaf
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = leaf.person_id / 4096
      and get_bit(counted.people, (leaf.person_id % 4096)::int) <> 0
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  )

  select
    allowed.person_id,
    target.item_id,
    least(sum(allowed.weight::float8) / v_full_weight, 1)::real,
    min(allowed.first_at),
    max(allowed.last_at)
  from allowed
  join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _training_rows.kind
    -- Without items that the person teaches or wrote, and all that they contain.
    and not exists (
      select
      from track.item_ancestor as container
      join track.applied_item_role as item_role on item_role.item_id = container.ancestor_item_id
      where container.item_id = allowed.item_id
        and item_role.person_id = allowed.person_id
    )
  group by allowed.person_id, target.item_id
  having sum(allowed.weight) > 0;
end;
$$;

comment on function recommend._training_rows(text) is $$
@behavior -*
Returns the interactions and enrolments with the items of a kind, by the same rules as `recommend._history`.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included, without
what they teach or wrote.
$$;
--! EndIncluded recommend/train/_training_rows.sql

-- from monitor/policies.sql
grant select on monitor.run to insights_reader, insights_admin, insights_worker;
grant select (run_id, task, started_at, finished_at, duration, outcome) on monitor.run to insights_analyst;
