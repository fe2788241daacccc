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
