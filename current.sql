-- Changes of structure since the last release: see migrations/README.md.

-- Declared properties.
create table if not exists track.declared_property (
  property_id int generated always as identity primary key,
  event_type_id int not null references track.event_type,
  property text not null check (length(property) between 1 and 200),
  most_values int not null check (most_values between 1 and 1000),
  is_queued boolean not null default false,
  declared_at timestamptz not null default now(),
  unique (event_type_id, property)
);

comment on table track.declared_property is $$
Properties of events whose values are maintained for analyses: see `track.declare_property`.
A merge of event types copies the declarations to the target.
$$;
comment on column track.declared_property.property_id is $$Key of the declared property.$$;
comment on column track.declared_property.event_type_id is $$Event type; of a merged one, no events are left.$$;
comment on column track.declared_property.property is $$Name of the property: a key of `track.event.properties`.$$;
comment on column track.declared_property.most_values is $$
Number of values that analyses show; the rest is `other`.
$$;
comment on column track.declared_property.is_queued is $$
Whether the people with such events were queued (`track.stale_property`): from then on the values are maintained.
$$;
comment on column track.declared_property.declared_at is $$Time of the declaration.$$;

create table if not exists track.stale_property (
  person_id bigint not null,
  property_id int not null references track.declared_property,
  primary key (person_id, property_id)
);

create index if not exists stale_property_property on track.stale_property (property_id);

comment on table track.stale_property is $$
@behavior -*
People whose values of a declared property are not stored yet. Emptied by `track.refresh` (step `track.property`).
The tables of values contain nothing of the person and the property until then.
$$;
comment on column track.stale_property.person_id is $$Person with events of the type; 0 for anonymized events.$$;
comment on column track.stale_property.property_id is $$Declared property.$$;

create table if not exists track.property_value (
  value_id int generated always as identity primary key,
  property_id int not null references track.declared_property,
  value text not null check (length(value) <= 200),
  unique (property_id, value)
);

comment on table track.property_value is $$
@behavior -*
The values of declared properties, each with a key that it keeps. A value is removed with the last event that has it.
$$;
comment on column track.property_value.value_id is $$Key of the value, above 0.$$;
comment on column track.property_value.property_id is $$Declared property.$$;
comment on column track.property_value.value is $$
Text of the value, its first 200 characters: a string, or anything else as in JSON. 1 and "1" are one value.
$$;

create table if not exists track.step_value (
  person_id bigint not null,
  property_id int not null,
  is_automatic boolean not null,
  since date not null,
  value_ids int[] not null,
  primary key (person_id, property_id, is_automatic, since)
)
with (fillfactor = 80);

comment on table track.step_value is $$
@behavior -*
The values of a declared property in the journeys of people: beside each row of `track.step` of the event type.
There is no row when none of the events has a value. Events of the same time and item are in the order of their values.
$$;
comment on column track.step_value.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.step_value.property_id is $$Declared property.$$;
comment on column track.step_value.is_automatic is $$As in `track.step`.$$;
comment on column track.step_value.since is $$As in `track.step`.$$;
comment on column track.step_value.value_ids is $$
Value of each event of `track.step.occurred_at`: a key of `track.property_value`, or 0 for an event without a value.
$$;

create table if not exists track.value_presence (
  property_id int not null references track.declared_property,
  value_id int not null,
  day date not null,
  part int not null check (part >= 0),
  people bit(16384) not null,
  event_count int not null check (event_count >= 0),
  counted_count int not null check (counted_count >= 0),
  primary key (property_id, value_id, day, part),
  check (bit_count(people) > 0 or event_count > 0)
);

-- Most of these bits are 0. A row above 2 kB is compressed, and stays in its page.
alter table track.value_presence alter column people set storage main;

comment on table track.value_presence is $$
@behavior -*
The people with events with a value of a declared property on a day, one bit per person, and the number of events.
Read by `track.value_days`. Maintained by `track.refresh_sessions`, as `track.presence` is.
$$;
comment on column track.value_presence.property_id is $$Declared property.$$;
comment on column track.value_presence.value_id is $$Value, or 0, as in `track.step_value`.$$;
comment on column track.value_presence.day is $$Day, UTC.$$;
comment on column track.value_presence.part is $$Number of the part of people: `person_id / 16384`, four blocks.$$;
comment on column track.value_presence.people is $$
One bit per person of the part; bit 0, the leftmost, is the person `part * 16384`. Person 0 has no bit.
$$;
comment on column track.value_presence.event_count is $$
Number of events of the people of the part who are not in the set `excluded`.
$$;
comment on column track.value_presence.counted_count is $$
Number of events of the people of the part who are in the set `counted`.
$$;

do $$
begin
  if to_regtype('track.value_activity') is null then
    create type track.value_activity as (
      person_id bigint, day date, property_id int, value_id int, event_count int
    );
  end if;
end;
$$;

comment on type track.value_activity is $$
Events of a person on a day (UTC) with a value of a declared property.
$$;
comment on column track.value_activity.person_id is $$Person; 0 for anonymized events.$$;
comment on column track.value_activity.day is $$Day, UTC.$$;
comment on column track.value_activity.property_id is $$Declared property.$$;
comment on column track.value_activity.value_id is $$Value, as in `track.step_value`.$$;
comment on column track.value_activity.event_count is $$Number of events.$$;

insert into track.distribution (schema_name, table_name, column_name, colocated_with, description)
values
  ('track', 'step_value', 'person_id', 'track.event', 'Derived from the events of the person.')
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'stale_property', 'person_id', 'person', 'analytics', 'Person whose values are not stored yet.'),
  ('track', 'step_value', 'person_id', 'person', 'analytics', 'Person of the events.'),
  ('track', 'property_value', 'value', 'behaviour', 'analytics', 'Values of properties, while an event has them.'),
  ('track', 'value_presence', 'people', 'derived', 'analytics', 'People with a value on a day, one bit per person.')
on conflict do nothing;

alter table track.declared_property enable row level security;
alter table track.stale_property enable row level security;
alter table track.property_value enable row level security;
alter table track.step_value enable row level security;
alter table track.value_presence enable row level security;
