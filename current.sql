-- Changes of structure since the last release: see migrations/README.md.

create type ml.class_probability as (
  class text,
  probability float8
);

comment on type ml.class_probability is $$A class and its probability, as `ml.predict_classes` returns them.$$;
comment on column ml.class_probability.class is $$Name of the class.$$;
comment on column ml.class_probability.probability is $$Probability of the class, between 0 and 1.$$;

drop function if exists ml._tree_score(bigint, jsonb, jsonb);
drop function if exists ml._gbm_document(text, text[], text);
drop function if exists ml._linear_document(text, text[], text, text, jsonb);

/* ------------------------------------------------------------------------------- imports that were removed -- */

create table track.forgotten_import (
  source_id smallint primary key,
  name text not null,
  started_at timestamptz not null default clock_timestamp(),
  completed_at timestamptz,
  done_until timestamptz not null default '-infinity',
  event_count bigint not null default 0,
  person_count bigint not null default 0,
  item_count bigint not null default 0,
  event_type_count bigint not null default 0,
  kept_event_count bigint not null default 0,
  event_types int[] not null default '{}',
  actor text not null
);

comment on table track.forgotten_import is $$
Imports that were removed, or are being removed, by `track.forget_import`; one row per import, kept as history.
$$;
comment on column track.forgotten_import.source_id is $$Key that the source of the import had.$$;
comment on column track.forgotten_import.name is $$Name that the source had.$$;
comment on column track.forgotten_import.started_at is $$Time of the first step.$$;
comment on column track.forgotten_import.completed_at is $$Time of the last step; null while there are more.$$;
comment on column track.forgotten_import.done_until is $$
Time until which the events of the import are deleted, exclusive; `-infinity` before the first month is done.
$$;
comment on column track.forgotten_import.event_count is $$Number of events that were deleted.$$;
comment on column track.forgotten_import.person_count is $$
Number of people that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.item_count is $$
Number of items that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.event_type_count is $$
Number of event types that were deleted, because only the import named them.
$$;
comment on column track.forgotten_import.kept_event_count is $$
Number of events that stay, because the data of their people is restricted.
$$;
comment on column track.forgotten_import.event_types is $$
Types of the deleted events, until the last step has deleted those that nothing else uses.
$$;
comment on column track.forgotten_import.actor is $$
Administrator who removed the import: the signed-in person, or else the login of the database.
$$;

create table track.forgotten_item (
  source_id smallint not null,
  item_id bigint not null,
  primary key (source_id, item_id)
);

comment on table track.forgotten_item is $$
@behavior -*
Items of imports that are being removed, which the last steps delete when nothing else uses them.
$$;
comment on column track.forgotten_item.source_id is $$Key of the import in `track.forgotten_import`.$$;
comment on column track.forgotten_item.item_id is $$Item.$$;

create type track.source_contents as (
  source text,
  events bigint,
  first_at timestamptz,
  last_at timestamptz,
  people bigint,
  people_alone bigint,
  items bigint,
  items_alone bigint
);

comment on type track.source_contents is $$
@behavior -*
What the events of an import are about.
$$;
comment on column track.source_contents.source is $$Name of the import.$$;
comment on column track.source_contents.events is $$Number of its events.$$;
comment on column track.source_contents.first_at is $$Time of its first event; null without events.$$;
comment on column track.source_contents.last_at is $$Time of its last event; null without events.$$;
comment on column track.source_contents.people is $$Number of people with such events.$$;
comment on column track.source_contents.people_alone is $$Number of these people who have no other events.$$;
comment on column track.source_contents.items is $$Number of items with such events.$$;
comment on column track.source_contents.items_alone is $$Number of these items that have no other events.$$;

alter table track.forgotten_import enable row level security;
alter table track.forgotten_item enable row level security;

alter table track.consumer add column forget_function text check (forget_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.forget_function is $$
Name of a function of `people bigint[], times timestamptz[]`; null: it needs none.
`track.forget_import` calls it before it deletes events of these people and times, so that the refresh does not keep
what outlives events that a rule of retention deletes.
$$;
update track.consumer set forget_function = 'recommend.forget_events' where consumer = 'recommend.interaction';

drop function track._erase_descriptions(bigint[]);
