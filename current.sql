-- Changes of structure since the last release: see migrations/README.md.

/* Sets of people, and who is counted. */

alter table track.consumer
drop constraint if exists consumer_inputs_check,
add constraint consumer_inputs_check check (
  inputs <> '{}' and inputs <@ '{event,enrolment,decision,identity}'
);
comment on column track.consumer.inputs is $$
Data that it is derived from: `event` (also sessions and page views), `enrolment`, `decision` or `identity`.
`identity`: identities that are new, moved to another person, excluded or included.
$$;
comment on table track.changed is $$
@foreignKey (consumer) references track.consumer (consumer)
Periods in which data of a person changed, one row per consumer (see `track.consumer.inputs`).
`track.refresh` deletes the rows of a consumer and recomputes the periods in a later statement of the same
transaction. Changes that are committed between the two statements have rows of their own, so that no change is
missed. Repeating a refresh gives the same result.
$$;


create table if not exists track.person_set (
  name text primary key check (name ~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$' and length(name) <= 100),
  description text not null,
  members text check (members ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$'),
  consumer text not null default 'track.person_set' references track.consumer
);

comment on table track.person_set is $$
Named sets of people, by which analyses filter: `counted`, segments, groups of an experiment.
Every room registers its own. A set is kept by a function of `set_name text, people bigint[]` that returns those of the
given people who belong; `track.refresh` calls it for people whose data changed. `insights doctor` checks that the
functions exist.
$$;
comment on column track.person_set.name is $$Name, such as `counted` or `segment.power_users`.$$;
comment on column track.person_set.description is $$Description of the set: who belongs to it.$$;
comment on column track.person_set.members is $$
Name of the function that returns the members, with its schema.
Null when the members are listed in `track.person_set_member`.
$$;
comment on column track.person_set.consumer is $$
Consumer whose refresh recomputes the set: it must come after the data that the function reads.
$$;

create index if not exists person_set_consumer on track.person_set (consumer);

create table if not exists track.person_set_member (
  name text not null references track.person_set on delete cascade,
  identity_id bigint not null references track.identity,
  primary key (name, identity_id)
);

comment on table track.person_set_member is $$
@behavior -*
Members of the sets whose members are listed. The person of a listed identity belongs to the set.
By identity, so that a set is the same after a merge of people that is reversed.
$$;
comment on column track.person_set_member.name is $$Set.$$;
comment on column track.person_set_member.identity_id is $$Identity of a member.$$;

create index if not exists person_set_member_identity on track.person_set_member (identity_id);

create table if not exists track.person_set_block (
  name text not null references track.person_set on delete cascade,
  block int not null check (block >= 0),
  people bit(4096) not null check (bit_count(people) > 0),
  primary key (name, block)
);

comment on table track.person_set_block is $$
@behavior -*
The people of each set, as of the last refresh: one bit per person.
A person belongs when `get_bit(people, (person_id % 4096)::int)` of the block `person_id / 4096` is 1. A block in which
no person belongs has no row.
Sets are combined by `&`, `|` and `& ~`, and counted by `bit_count`.
$$;
comment on column track.person_set_block.name is $$Set.$$;
comment on column track.person_set_block.block is $$Number of the block: `person_id / 4096`.$$;
comment on column track.person_set_block.people is $$
One bit per person of the block; bit 0, the leftmost, is the person `block * 4096`.
$$;

create table if not exists track.exclusion (
  identity_id bigint primary key references track.identity,
  reason text not null check (reason in ('staff', 'test', 'bot', 'service_account')),
  note text check (length(note) <= 1000),
  excluded_at timestamptz not null default now(),
  excluded_by text not null
);

comment on table track.exclusion is $$
Identities whose people are not counted: in popularity, in training and in the smallest group of figures.
See `track.exclude_person` and `track.include_person`.
$$;
comment on column track.exclusion.identity_id is $$Identity that is excluded, with the person that it belongs to.$$;
comment on column track.exclusion.reason is $$`staff`, `test`, `bot` or `service_account`.$$;
comment on column track.exclusion.note is $$Note of the administrator; null when none was given.$$;
comment on column track.exclusion.excluded_at is $$Time at which the identity was excluded.$$;
comment on column track.exclusion.excluded_by is $$
Person who excluded it: the signed-in administrator, or the login of the database.
$$;

insert into track.consumer (consumer, position, refresh, inputs, description)
values (
  'track.person_set', 0, 'track.refresh_person_sets', '{event,enrolment,decision,identity}',
  'The sets of people, before the data that is filtered by them.'
)
on conflict do nothing;

insert into track.person_set (name, description, members)
values
  ('signed_in', 'People who have signed in at some time.', 'track.signed_in_people'),
  (
    'counted',
    'People who count in popularity, in training and in the smallest group of figures: signed in and not excluded.',
    'track.counted_people'
  )
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'person_set_member', 'identity_id', 'identity', 'service', 'Identity of a member of a listed set.'),
  ('track', 'person_set_block', 'people', 'derived', 'analytics', 'People of a set, one bit per person.'),
  ('track', 'exclusion', 'identity_id', 'identity', 'service', 'Identity of a person who is not counted.'),
  ('track', 'exclusion', 'note', 'traits', 'service', 'Note about the person, by an administrator.')
on conflict do nothing;

alter table track.person_set enable row level security;
alter table track.person_set_member enable row level security;
alter table track.person_set_block enable row level security;
alter table track.exclusion enable row level security;

-- The sets of the people that are stored already. Nobody is excluded yet when the block of a set does not exist.
insert into track.person_set_block (name, block, people)
select
  person_set.name,
  (identity.person_id / 4096)::int,
  bit_or(b'1'::bit(4096) >> (identity.person_id % 4096)::int)
from track.identity
cross join track.person_set
where identity.kind = 'user'
  and identity.person_id = identity.identity_id
  and person_set.name in ('signed_in', 'counted')
  and not exists (select from track.person_set_block as stored where stored.name = person_set.name)
group by 1, 2;

/* The popularity of items, of counted people only. Until the next analytics.refresh_views, popularity is computed. */

do $$
begin
  if pg_get_viewdef('analytics.item_popularity'::regclass) not like '%person_set_block%' then
    drop materialized view analytics.item_popularity;
  end if;
end;
$$;

create materialized view if not exists analytics.item_popularity as
with counted as (
  select activity.person_id, activity.day, activity.item_id, activity.event_count, activity.engaged
  from analytics.activity
  join track.person_set_block
    on person_set_block.name = 'counted'
    and person_set_block.block = activity.person_id / 4096
    and get_bit(person_set_block.people, (activity.person_id % 4096)::int) <> 0
)
select
  ancestor.ancestor_item_id as item_id,
  sum(activity.event_count) as event_count,
  count(distinct activity.person_id) as person_count,
  sum(activity.engaged) as engaged,
  max(activity.day) as last_day,
  -- Halved per 30 days of age, as of the latest day with activity.
  sum(activity.event_count * 0.5::float8 ^ least(1000, (newest.day - activity.day) / 30::float8)) as decayed_event_count
from counted as activity
cross join (select max(day) as day from counted) as newest
join track.item_ancestor as ancestor using (item_id)
group by ancestor.ancestor_item_id
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

create unique index if not exists item_popularity_item on analytics.item_popularity (item_id);
grant select on analytics.item_popularity to insights_reader;

comment on column analytics.learner_features.course_active_share is $$
Share of the counted learners of the course with activity in it in the last 7 days.
$$;
