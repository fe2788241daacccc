-- Changes of structure since the last release: see migrations/README.md.

create table if not exists track.imported_item (
  source_id smallint not null references track.source,
  item_id bigint not null references track.item,
  kind text check (kind ~ '^[a-z][a-z0-9_]{0,62}$'),
  title text,
  url text,
  parent_item_id bigint references track.item,
  stated_at timestamptz not null default clock_timestamp(),
  primary key (source_id, item_id)
);

comment on table track.imported_item is $$
@behavior -*
What imports state about items without an event: the structure of courses.
It has precedence over what messages tell, and the tables of the application over both. Of several imports, the one that
stated an item last counts. `track.forget_import` deletes the rows of an import.
$$;
comment on column track.imported_item.source_id is $$Source of the import.$$;
comment on column track.imported_item.item_id is $$Item, under the name that the import gave.$$;
comment on column track.imported_item.kind is $$Kind; null when the import states none.$$;
comment on column track.imported_item.title is $$Title; null when the import states none.$$;
comment on column track.imported_item.url is $$URL; null when the import states none.$$;
comment on column track.imported_item.parent_item_id is $$Parent; null when the import states none.$$;
comment on column track.imported_item.stated_at is $$Time of the last change of the row.$$;

create index if not exists imported_item_item on track.imported_item (item_id);
create index if not exists imported_item_parent on track.imported_item (parent_item_id);
alter table track.imported_item enable row level security;
