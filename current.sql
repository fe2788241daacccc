-- Changes of structure since the last release: see migrations/README.md.

/* --- history of traits --- */

alter table track.setting
  add column if not exists most_trait_times int not null default 2000 check (most_trait_times between 1 and 100000);
comment on column track.setting.most_trait_times is $$
Maximum number of times that `track.trait_history` keeps per identity, trait and year: the latest ones.
$$;

create table if not exists track.trait_history (
  person_id bigint not null,
  identity_id bigint not null references track.identity,
  name text not null check (length(name) between 1 and 100),
  since date not null,
  set_at timestamptz[] not null check (cardinality(set_at) > 0),
  value jsonb[] not null check (cardinality(value) = cardinality(set_at)),
  repeated_at timestamptz[] not null,
  primary key (person_id, identity_id, name, since)
);

comment on table track.trait_history is $$
@behavior -*
@foreignKey (identity_id) references track.identity (identity_id)
The values that traits of people had in the course of time: one row per identity, trait and year.
The times of repetitions are kept, because a message with another value may arrive late and be between two of them. The
rows are the same in any order of arrival of the messages, and follow merges of people and their reversal as
`track.trait` does. Of two values of the same time, the greater one applies. See `track.trait_changes`.
$$;
comment on column track.trait_history.person_id is $$Person that has the trait.$$;
comment on column track.trait_history.identity_id is $$Identity for which the trait was sent.$$;
comment on column track.trait_history.name is $$Name of the trait, such as `plan`.$$;
comment on column track.trait_history.since is $$First day (UTC) of the year of the times.$$;
comment on column track.trait_history.set_at is $$
Times at which a value was sent that is not the one before, in order, so that `width_bucket` finds a position.
Of `identify`, the time of the message; of the time zone in other messages, the start of the hour (UTC) of the message.
$$;
comment on column track.trait_history.value is $$
The value of each time in `set_at`; JSON null for a value of more than 1,000 bytes.
$$;
comment on column track.trait_history.repeated_at is $$
Times at which the value was sent again, in order.
Of these and `set_at` together, the latest `track.setting.most_trait_times` of the year are kept.
$$;

create index if not exists trait_history_identity on track.trait_history (identity_id);

alter table track.trait_history enable row level security;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values ('track', 'trait_history', 'person_id', 'track.event', 'Former values of traits of the person.')
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'trait_history', 'person_id', 'person', 'analytics', 'Person that had the trait.'),
  ('track', 'trait_history', 'value', 'traits', 'analytics', 'Former values of a trait of the person.')
on conflict do nothing;

-- The history begins with the values that are known.
insert into track.trait_history (person_id, identity_id, name, since, set_at, value, repeated_at)
select
  person_id, identity_id, name, date_trunc('year', set_at at time zone 'UTC')::date, array[set_at],
  array[case when octet_length(value::text) > 1000 then 'null' else value end], '{}'
from track.trait
where not exists (
  select
  from track.trait_history as history
  where (history.person_id, history.identity_id, history.name) = (trait.person_id, trait.identity_id, trait.name)
)
on conflict do nothing;
