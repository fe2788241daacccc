create schema analytics;

comment on schema analytics is $$
The analysis queries, over rollups that are kept exact as events come late, move to another person, or go.
$$;

grant usage, create on schema analytics to insights_reader;
grant usage on schema analytics to insights_analyst, insights_admin, insights_worker;

create table analytics.setting (
  only_row boolean primary key default true check (only_row),
  smallest_group int not null default 5 check (smallest_group > 0)
);

comment on table analytics.setting is $$
How the analysis functions answer: one row.
$$;
comment on column analytics.setting.only_row is $$Always true, so that there is one row.$$;
comment on column analytics.setting.smallest_group is $$Figures about fewer people than this are withheld from analysts (k-anonymity).$$;

insert into analytics.setting default values;

create table analytics.activity (
  person_id bigint not null,
  day date not null,
  event_type_id int not null references track.event_type,
  item_id bigint references track.item,
  event_count int not null,
  engaged interval not null,
  unique nulls not distinct (person_id, day, event_type_id, item_id)
);

comment on table analytics.activity is $$
@behavior -*
What each person did on each day (UTC), by event type and item: the rollup behind popularity and trends.
One row a person makes distinct people exact over any period,
and deletions and moves as exact as additions. Kept by `analytics.refresh_activity`.
$$;
comment on column analytics.activity.person_id is $$Who; 0 for events that were kept without a person.$$;
comment on column analytics.activity.day is $$Day, UTC.$$;
comment on column analytics.activity.event_type_id is $$What.$$;
comment on column analytics.activity.item_id is $$On what; null for nothing in particular.$$;
comment on column analytics.activity.event_count is $$How often.$$;
comment on column analytics.activity.engaged is $$Engaged time of the page views that these events opened.$$;

create index activity_day on analytics.activity (day, event_type_id);
create index activity_item on analytics.activity (item_id, day);
create index activity_event_type on analytics.activity (event_type_id, day);

insert into track.consumer (consumer, description) values ('analytics.activity', 'The rollup of activity by person and day.');

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'activity', 'person_id', 'person', 'analytics', 'Who was active.');

create type analytics.popular_item as (
  rank int,
  item text,
  title text,
  kind text,
  event_count bigint,
  person_count bigint,
  engaged interval,
  score float8
);

comment on type analytics.popular_item is $$
An item with what was done on it and below it. `score` is the measure that it is ranked by, halved with age where a half-life was given; engaged time counts in seconds.
$$;
comment on column analytics.popular_item.rank is $$1 for the most popular.$$;
comment on column analytics.popular_item.item is $$External id of the item.$$;
comment on column analytics.popular_item.title is $$Its title.$$;
comment on column analytics.popular_item.kind is $$Its kind.$$;
comment on column analytics.popular_item.event_count is $$Events on it or below it.$$;
comment on column analytics.popular_item.person_count is $$Distinct people.$$;
comment on column analytics.popular_item.engaged is $$Engaged time.$$;
comment on column analytics.popular_item.score is $$The measure that it is ranked by, aged by the half-life.$$;

create type analytics.trend_point as (
  bucket_start timestamptz,
  event_count bigint,
  person_count bigint,
  running_average float8,
  slope float8
);

comment on type analytics.trend_point is $$
A bucket of time: events, distinct people, the average number of events over the last buckets of the window, and the slope of a least-squares line through them (events a bucket).
Figures about too few people are null.
$$;
comment on column analytics.trend_point.bucket_start is $$Begin of the bucket.$$;
comment on column analytics.trend_point.event_count is $$Events; null when too few people are behind them.$$;
comment on column analytics.trend_point.person_count is $$Distinct people; null when they are too few.$$;
comment on column analytics.trend_point.running_average is $$Average number of events over the last buckets.$$;
comment on column analytics.trend_point.slope is $$Slope of the least-squares line through the last buckets, in events a bucket.$$;

create materialized view analytics.item_popularity as
select
  ancestor.ancestor_item_id as item_id,
  sum(activity.event_count) as event_count,
  count(distinct nullif(activity.person_id, 0)) as person_count,
  sum(activity.engaged) as engaged,
  max(activity.day) as last_day,
  -- Halved every 30 days, up to the newest day on record.
  sum(activity.event_count * 0.5::float8 ^ least(1000, (newest.day - activity.day) / 30::float8)) as decayed_event_count
from analytics.activity
cross join (select max(day) as day from analytics.activity) as newest
join track.item_ancestor as ancestor using (item_id)
group by ancestor.ancestor_item_id
with no data;

comment on materialized view analytics.item_popularity is $$
@behavior -*
All-time use of each item together with all below it; what is offered to strangers. Refreshed by a worker, concurrently.
$$;
comment on column analytics.item_popularity.item_id is $$The item.$$;
comment on column analytics.item_popularity.event_count is $$Events on it or below it.$$;
comment on column analytics.item_popularity.person_count is $$Distinct people.$$;
comment on column analytics.item_popularity.engaged is $$Engaged time.$$;
comment on column analytics.item_popularity.last_day is $$Newest day of use, UTC.$$;
comment on column analytics.item_popularity.decayed_event_count is $$Events, each halved for every 30 days of age.$$;

create unique index item_popularity_item on analytics.item_popularity (item_id);

alter table analytics.setting enable row level security;
alter table analytics.activity enable row level security;
