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
set description = 'Replication slots, and standbys that lag.'
where health_check = 'replication';

alter table monitor.rule_bound
  add column if not exists lowest float8,
  add column if not exists highest float8;

comment on column monitor.rule_bound.basis is $$
Values that it is learned from.
`hour of the week`: those of the same hour of earlier weeks, when there are four weeks of them, and 20, and the hours of
the week explain half of the deviations; `all hours`: all; `learning`: there are less than 100 values, of a daily metric
less than 14, or less than a day.
$$;
comment on column monitor.rule_bound.spread is $$
Their standard deviation, from the median absolute deviation; null while learning.
At least 5 percent of the median, and a least amount by the unit, so that a constant series does not alert on noise; of
an hour of the week, at least the share of the median by which values of all hours deviate from theirs.
$$;
comment on column monitor.rule_bound.lowest is $$
Value below which the series was for the time `rule.hold` on at most a tenth of the days: a lower bound is not above it.
Null unless the basis is `all hours`.
$$;
comment on column monitor.rule_bound.highest is $$
Value above which the series was for the time `rule.hold` on at most a tenth of the days: an upper bound is not below
it. Null unless the basis is `all hours`.
$$;

drop function if exists monitor._learn_bound(int, text, text, timestamptz);
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
