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
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
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

/* ---------------------------------------------------------------------------------------------- saved queries -- */

create table if not exists analytics.saved_query (
  name text primary key check (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
  description text check (length(description) <= 2000),
  function_name text not null check (function_name ~ '^[a-z]+\.[a-z][a-z0-9_]*$'),
  arguments jsonb not null default '{}' check (jsonb_typeof(arguments) = 'object'),
  created_by text not null,
  created_at timestamptz not null default now(),
  changed_at timestamptz not null default now()
);

comment on table analytics.saved_query is $$
@behavior -query:resource:list -query:resource:connection -query:resource:single -insert -update -delete -type:node
Saved queries: a function of the API with named arguments, run with the privileges of the caller.
Analysts can read those whose function they may execute.
$$;
comment on column analytics.saved_query.name is $$Name of the query.$$;
comment on column analytics.saved_query.description is $$Description; null when there is none.$$;
comment on column analytics.saved_query.function_name is $$Function, with its schema.$$;
comment on column analytics.saved_query.arguments is $$
Arguments by name; the others have their defaults. A time can be relative to now, such as "-28 days".
$$;
comment on column analytics.saved_query.created_by is $$
Author: `userId` of the analyst or administrator, or the database login.
$$;
comment on column analytics.saved_query.created_at is $$Time at which the query was saved first.$$;
comment on column analytics.saved_query.changed_at is $$Time at which the query was saved last.$$;

alter table analytics.saved_query enable row level security;

insert into analytics.saved_query (name, function_name, arguments, created_by, description)
values
  (
    'popular-courses', 'analytics.popular_items', '{"kind": "course", "since": "-28 days"}', 'insights',
    'Courses with the most people of the last 28 days.'
  ),
  (
    'popular-pages', 'analytics.popular_items', '{"kind": "page", "since": "-28 days", "top": 50}', 'insights',
    'Pages with the most people of the last 28 days.'
  ),
  (
    'dropout-outlook', 'analytics.course_outlook', '{"target": "dropout"}', 'insights',
    'Predicted dropout by course, the next 14 days.'
  )
on conflict do nothing;

insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('analytics', 'saved_query', 'created_by', 'identity', 'service', 'Author of the query.'),
  (
    'analytics', 'saved_query', 'arguments', 'identity', 'service',
    'Arguments; those of queries for administrators can name a person.'
  )
on conflict do nothing;

do $do$
begin
  if to_regtype('analytics.query_function') is null then
    create type analytics.query_function as (
      function_name text,
      argument_names text[],
      argument_types text[],
      required_count int,
      description text
    );
  end if;
end;
$do$;

comment on type analytics.query_function is $$
A function that can be queried by name.
$$;
comment on column analytics.query_function.function_name is $$Function, with its schema.$$;
comment on column analytics.query_function.argument_names is $$Names of the arguments, in their order.$$;
comment on column analytics.query_function.argument_types is $$Types of the arguments.$$;
comment on column analytics.query_function.required_count is $$
Number of arguments that have no default: the first ones.
$$;
comment on column analytics.query_function.description is $$First line of the description of the function.$$;
/* Journeys by event type. */
create index if not exists step_type on track.step (event_type_id, since);
