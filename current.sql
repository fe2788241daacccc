-- Changes of structure since the last release: see migrations/README.md.

create table if not exists track.dropped_reference (
  table_name text not null,
  constraint_name text not null,
  definition text not null,
  dropped_at timestamptz not null default now(),
  primary key (table_name, constraint_name)
);

comment on table track.dropped_reference is $$
@behavior -*
Foreign keys that were dropped when their table was distributed.
They lead from a table of `track.distribution` to one that is not; `insights distribute --undo` adds them again.
$$;
comment on column track.dropped_reference.table_name is $$Table that had it, as `schema.table`.$$;
comment on column track.dropped_reference.constraint_name is $$Name of the foreign key.$$;
comment on column track.dropped_reference.definition is $$Its definition, as `pg_get_constraintdef` returns it.$$;
comment on column track.dropped_reference.dropped_at is $$Time at which it was dropped.$$;

drop type if exists track.distribution_step cascade;
create type track.distribution_step as (
  action text,
  relation text,
  detail text,
  statement text
);

comment on type track.distribution_step is $$
A step of the distribution of a table over the nodes of a cluster, or back.
$$;
comment on column track.distribution_step.action is $$
`drop foreign key`, `distribute` or `truncate the local rows`; back, `undistribute` or `restore foreign key`.
$$;
comment on column track.distribution_step.relation is $$Table, as `schema.table`.$$;
comment on column track.distribution_step.detail is $$
Name of the foreign key, or the distribution column; null for a step without one.
$$;
comment on column track.distribution_step.statement is $$Statements of the step, for one transaction.$$;

alter table track.dropped_reference enable row level security;
