-- Changes of structure since the last release: see migrations/README.md.

/* ------------------------------------------------------------------------------------------------ annotations -- */

create table if not exists analytics.annotation (
  annotation_id bigint generated always as identity primary key,
  kind text not null default 'other' check (kind in ('release', 'term', 'holiday', 'other')),
  title text not null check (length(title) between 1 and 200),
  description text check (length(description) <= 2000),
  starts_at timestamptz not null check (isfinite(starts_at)),
  ends_at timestamptz check (isfinite(ends_at)),
  created_by text not null,
  created_at timestamptz not null default now(),
  check (ends_at > starts_at)
);

comment on table analytics.annotation is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete
Annotations of the time axis: releases, terms, holidays and other events that explain changes of figures.
Analysts and instructors can read all of them.
$$;
comment on column analytics.annotation.annotation_id is $$Key of the annotation.$$;
comment on column analytics.annotation.kind is $$`release`, `term`, `holiday` or `other`.$$;
comment on column analytics.annotation.title is $$Title, as shown in a chart.$$;
comment on column analytics.annotation.description is $$Description; null when there is none.$$;
comment on column analytics.annotation.starts_at is $$Start of the annotated period, or its time.$$;
comment on column analytics.annotation.ends_at is $$End of the period, exclusive; null for a single time.$$;
comment on column analytics.annotation.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.annotation.created_at is $$Time at which the annotation was written.$$;

create index if not exists annotation_time on analytics.annotation (starts_at);

alter table analytics.annotation enable row level security;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values ('analytics', 'annotation', 'created_by', 'identity', 'service', 'Author of the annotation.')
on conflict do nothing;
