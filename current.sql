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
  viewed.view_number,
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
-- In a list of columns, functions that return sets are evaluated row by row; in `from`, their results are stored first.
cross join lateral (
  select
    generate_series(1, cardinality(session.view_event_ids)) as view_number,
    unnest(session.view_event_ids) as event_id,
    unnest(session.view_item_ids) as item_id,
    unnest(session.view_starts) as start,
    unnest(session.view_starts[2:]) as next_start,
    unnest(session.view_ends) as ended,
    unnest(session.view_engaged) as engaged,
    unnest(session.view_heartbeats) as heartbeats,
    unnest(session.view_continued) as is_continued,
    unnest(session.view_keys) as view_key
) as viewed;

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
    from track.person;
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
  primary key (item_id, month, block)
);

comment on table track.course_presence is $$
@behavior -*
The people with events or page views of a course, or of an item it contains, in a month: one bit per person.
Maintained by `track.refresh_sessions`. Courses in `track.stale_course` are out of
date.
$$;
comment on column track.course_presence.item_id is $$Course: an item of the kind `course`.$$;
comment on column track.course_presence.month is $$First day of the month, UTC.$$;
comment on column track.course_presence.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.course_presence.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`. Person 0 has no bit.
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
