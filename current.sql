-- Changes of structure since the last release: see migrations/README.md.

create table track.item_transition (
  month date not null,
  source_item_id bigint not null,
  target_item_id bigint not null,
  transition_count bigint not null check (transition_count > 0),
  person_count int not null check (person_count > 0),
  elapsed bigint not null,
  primary key (month, source_item_id, target_item_id)
)
with (fillfactor = 80);

comment on table track.item_transition is $$
@behavior -*
Transitions between items that were viewed in succession in a session, by month, of the people in the set `counted`.
Views that continue from an earlier session, and those without an item, are left out, as are transitions from an item to
itself. Months in `track.stale_transition_month` are out of date. Maintained by `track.refresh_sessions`.
$$;
comment on column track.item_transition.month is $$
First day of the month (UTC) in which the session started.
$$;
comment on column track.item_transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.item_transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.item_transition.transition_count is $$Number of transitions.$$;
comment on column track.item_transition.person_count is $$Number of distinct people in the month.$$;
comment on column track.item_transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create table track.stale_transition_month (month date primary key);

comment on table track.stale_transition_month is $$
@behavior -*
Months whose transitions are recomputed by the next refresh, such as all months after an upgrade.
Consumed by `track.refresh`, one month per call.
$$;
comment on column track.stale_transition_month.month is $$First day of the month, UTC.$$;

create type track.transition as (
  person_id bigint,
  month date,
  source_item_id bigint,
  target_item_id bigint,
  transition_count int,
  elapsed bigint
);

comment on type track.transition is $$
Transitions of a person between two items in a month.
$$;
comment on column track.transition.person_id is $$Person.$$;
comment on column track.transition.month is $$First day of the month (UTC) in which the session started.$$;
comment on column track.transition.source_item_id is $$Item that was viewed first.$$;
comment on column track.transition.target_item_id is $$Item that was viewed next.$$;
comment on column track.transition.transition_count is $$Number of transitions.$$;
comment on column track.transition.elapsed is $$
Sum of the times from the start of the view of the source to that of the target, in microseconds.
$$;

create type analytics.transition as (
  source text,
  target text,
  transition_count bigint,
  person_months bigint,
  share float8,
  mean_time interval
);

comment on type analytics.transition is $$
A transition between two nodes in the sessions of some months.
For analysts, figures are rounded, and months in which too few people did a transition are left out.
$$;
comment on column analytics.transition.source is $$Node that was viewed first.$$;
comment on column analytics.transition.target is $$Node that was viewed next.$$;
comment on column analytics.transition.transition_count is $$Number of transitions.$$;
comment on column analytics.transition.person_months is $$
Number of people in each month, added over the months and the pairs of items that the nodes stand for.
$$;
comment on column analytics.transition.share is $$Share of the transitions from the source to other nodes.$$;
comment on column analytics.transition.mean_time is $$
Mean time from the start of the view of the source to that of the target; null for analysts of too few people.
$$;

alter table track.item_transition enable row level security;
alter table track.stale_transition_month enable row level security;

-- The transitions of all months are computed by the refresh, one month per call.
insert into track.stale_transition_month (month)
select to_date(substr(partition.relname, 7), 'YYYY_MM')
from pg_catalog.pg_inherits
join pg_catalog.pg_class as partition on partition.oid = pg_inherits.inhrelid
where pg_inherits.inhparent = 'track.event'::regclass
  and partition.relname ~ '^event_\d{4}_\d\d$';

-- Paths of events.
drop function analytics._path_nodes(text, text[], text[]);
drop function analytics._numbered_nodes(text, text[], text[]);
drop function analytics._session_paths(timestamptz, timestamptz, int[], int, int, int, text, text, int);
