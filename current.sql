-- Changes of structure since the last release: see migrations/README.md.

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
