-- Changes of structure since the last release: see migrations/README.md.

-- Page views in the sessions
/*
 * The rows of the table track.page_view stay, under another name, in the view track.page_view, until `insights migrate`
 * has moved them into the sessions, a few hundred people at a time: see src/database/page-views.ts.
 */
alter table track.session add column if not exists view_event_ids uuid[];
alter table track.session add column if not exists view_item_ids bigint[];
alter table track.session add column if not exists view_starts bigint[];
alter table track.session add column if not exists view_ends bigint[];
alter table track.session add column if not exists view_engaged bigint[];
alter table track.session add column if not exists view_heartbeats int[];
alter table track.session add column if not exists view_continued boolean[];
alter table track.session add column if not exists view_keys bigint[];
create index if not exists session_continued on track.session (person_id, ended_at) where view_continued is not null;

comment on table track.session is $$
@foreignKey (entry_item_id) references track.item (item_id)
@foreignKey (exit_item_id) references track.item (item_id)
Sessions: events of a person without a pause longer than `track.setting.session_timeout`.
Derived from the events; the rows are always the same as those of a computation from scratch. Events of an automatic
type or source are in no session.
$$;
comment on column track.session.view_event_ids is $$
@behavior -*
Events of the page views: see `track.page_view.event_id`. Null when there is no page view.
The columns `view_…` contain the page views of the session, one element per page view in the order of their numbers;
`track.page_view` shows them as rows. An element is null when its value is the usual one, and a list when all its
elements are.
$$;
comment on column track.session.view_item_ids is $$
@behavior -*
Items that were viewed. Keys of `track.item`; null when the event names none.
$$;
comment on column track.session.view_starts is $$
@behavior -*
Start of each page view, in microseconds after `started_at`.
$$;
comment on column track.session.view_ends is $$
@behavior -*
End of each page view, in microseconds after `started_at`.
Null: the start of the next page view; for the last one, the end of the session.
$$;
comment on column track.session.view_engaged is $$
@behavior -*
Engaged time of each page view, in microseconds. Null: the time from its start to its end.
$$;
comment on column track.session.view_heartbeats is $$
@behavior -*
Number of heartbeats of each page view.
-1 when its engaged time was measured by nothing, null when it was measured by gaps: both have no heartbeats.
$$;
comment on column track.session.view_continued is $$
@behavior -*
Whether a page view is a continued one; null: it is not.
$$;
comment on column track.session.view_keys is $$
@behavior -*
64-bit hashes of the `viewId`; null when the client sent none.
$$;

do $$
begin
  if exists (select from pg_class where oid = to_regclass('track.page_view') and relkind = 'r') then
    alter table track.page_view rename to stored_page_view;
    comment on table track.stored_page_view is '@behavior -*';
  end if;
end;
$$;

create or replace view track.page_view_of_sessions
with (security_invoker = true)
as
select
  session.person_id,
  viewed.event_id,
  session.session_id,
  viewed.view_number::int as view_number,
  viewed.item_id,
  session.started_at + viewed.start * interval '1 microsecond' as started_at,
  coalesce(
    session.started_at + coalesce(viewed.ended, viewed.next_start) * interval '1 microsecond',
    session.ended_at
  ) as ended_at,
  coalesce(
    viewed.engaged * interval '1 microsecond',
    (coalesce(viewed.ended, viewed.next_start) - viewed.start) * interval '1 microsecond',
    session.ended_at - (session.started_at + viewed.start * interval '1 microsecond')
  ) as engaged,
  case
    when viewed.heartbeats is null then 'gaps'
    when viewed.heartbeats < 0 then 'nothing'
    else 'heartbeats'
  end as engaged_by,
  greatest(viewed.heartbeats, 0) as heartbeat_count,
  coalesce(viewed.is_continued, false) as is_continued,
  viewed.view_key
from track.session
cross join lateral unnest(
  session.view_event_ids, session.view_item_ids, session.view_starts, session.view_starts[2:], session.view_ends,
  session.view_engaged, session.view_heartbeats, session.view_continued, session.view_keys
) with ordinality as viewed (
  event_id, item_id, start, next_start, ended, engaged, heartbeats, is_continued, view_key, view_number
);

comment on view track.page_view_of_sessions is '@behavior -*';
grant select on track.page_view_of_sessions to insights_reader, insights_learner, insights_admin;

do $$
begin
  if to_regclass('track.stored_page_view') is not null and not exists (select from track.stored_page_view) then
    drop table track.stored_page_view;
  end if;
  execute 'create or replace view track.page_view with (security_invoker = true) as '
    || case
      when to_regclass('track.stored_page_view') is null then pg_get_viewdef('track.page_view_of_sessions'::regclass)
      else '
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key
        from track.page_view_of_sessions
        union all
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key
        from track.stored_page_view'
    end;
  if to_regclass('track.stored_page_view') is null then
    drop view track.page_view_of_sessions;
  end if;
end;
$$;
grant select on track.page_view to insights_reader, insights_learner, insights_admin;

comment on view track.page_view is $$
@primaryKey person_id,event_id
@foreignKey (item_id) references track.item (item_id)
Page views with their engaged time.
Derived from the events; the rows are always the same as those of a computation from scratch.
A page view belongs to one session. Heartbeats that name a view (`properties.viewId`) that was not opened in their
session continue it: they form a page view of their own, of the item of that view.
With heartbeats: each heartbeat confirms the time since the previous heartbeat of the session or the opening of its
page view, at most one interval (at most `track.setting.minimum_visit` for the first heartbeat of the page view). For
one page at a regular interval this is Snowplow's formula, interval * (distinct heartbeats - 1) + minimum visit.
Without heartbeats: the sum of the gaps between the events up to the next view, each capped at
`track.setting.longest_gap`, without the time that heartbeats of other page views confirm. A page view without
heartbeats has no engaged time when its client (source, identity, with or without `viewId`) sent heartbeats for
another page view of the session: it was left before the first one.
$$;
comment on column track.page_view.person_id is $$
@notNull
Person.
$$;
comment on column track.page_view.event_id is $$
@notNull
Event that opened the page view; for a continued one, its first heartbeat.
$$;
comment on column track.page_view.session_id is $$
@notNull
Session that contains the page view.
$$;
comment on column track.page_view.view_number is $$
@behavior -filterBy -orderBy
@notNull
Number of the page view within the session, from 1, in order of time; continued ones included.
$$;
comment on column track.page_view.item_id is $$
Item that was viewed; null when the event names none.
For a continued page view, the item of the view that was opened earlier; when that is unknown, the item that the first
heartbeat names.
$$;
comment on column track.page_view.started_at is $$
@notNull
Time at which the page was opened; for a continued page view, the start of its engaged time.
$$;
comment on column track.page_view.ended_at is $$
@behavior -filterBy -orderBy
@notNull
Time of the last heartbeat or other event of the page view, or of the next view.
$$;
comment on column track.page_view.engaged is $$
@behavior -filterBy -orderBy
@notNull
Engaged time.
$$;
comment on column track.page_view.engaged_by is $$
@behavior -filterBy -orderBy
@notNull
Method of measuring the engaged time.
`heartbeats`, `gaps` (between events), or `nothing` for the last view of a session, whose duration is unknown and
counted as zero.
$$;
comment on column track.page_view.heartbeat_count is $$
@behavior -filterBy -orderBy
@notNull
Number of heartbeats received, including duplicates.
$$;
comment on column track.page_view.is_continued is $$
@behavior -filterBy -orderBy
@notNull
Whether the page was opened in an earlier session, or its opening is unknown. Not a further visit of the page.
$$;
comment on column track.page_view.view_key is $$
@behavior -*
64-bit hash of the `viewId`; null when the client sent none.
$$;

delete from track.distribution where schema_name = 'track' and table_name = 'page_view';
update track.distribution
set description = 'Derived from the events of the person, with the page views.'
where schema_name = 'track'
  and table_name = 'session';

delete from privacy.data_map where schema_name = 'track' and table_name = 'page_view';
insert into privacy.data_map (schema_name, table_name, column_name, holds, purpose, description)
values
  ('track', 'session', 'view_item_ids', 'behaviour', 'analytics', 'Items that the person viewed.'),
  ('track', 'session', 'view_keys', 'behaviour', 'analytics', 'Hashes of the `viewId` of the page views.')
on conflict do nothing;
