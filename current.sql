-- Changes of structure since the last release: see migrations/README.md.

alter table monitor.alert_setting
  add column if not exists standby_lag_limit interval not null default '5 minutes'
    check (standby_lag_limit between '1 second' and '1 day');

comment on column monitor.alert_setting.standby_lag_limit is $$
Time by which a standby may be behind, or not connected, before it is a problem. Twelve times as long is critical.
$$;

insert into monitor.metric (metric, kind, unit, labels, description)
values
  (
    'insights_replication_absence_seconds', 'gauge', 'seconds', '{standby}',
    'Time since the standby was connected; 0 while it is.'
  )
on conflict (metric) do nothing;

update monitor.health_check
set description = 'Replication slots, and standbys that lag or are gone.'
where health_check = 'replication';

set local lock_timeout to '5s';

alter table track.source add column states_enrolments boolean not null default false;
comment on column track.source.states_enrolments is $$
Whether its events `Course Enrolled`, `Course Dropped` and `Course Completed` give rows of `track.enrolment`.
So do those of imports (setting `insights.states_enrolments`), but not those of applications.
$$;

alter table track.enrolment add column source_id smallint;
comment on table track.enrolment is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (identity_id) references track.identity (identity_id)
Enrolments of people in items, as stored by the application, or as the events of an import state them.
Of the enrolments of an identity under several names of a merged item, the one of the item's own name counts, or else
the latest one. The others keep the merged item, whose kind is `merged`.
$$;
comment on column track.enrolment.source_id is $$
Import whose event began the enrolment; null: the application or an administrator stated it.
$$;
create index enrolment_source on track.enrolment (source_id) where source_id is not null;
