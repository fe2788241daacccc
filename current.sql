-- Changes of structure since the last release: see migrations/README.md.

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
