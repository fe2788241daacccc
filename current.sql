-- Changes of structure since the last release: see migrations/README.md.

/* ---------------------------------------------------------------------------------------- clusters of behaviour -- */

create table analytics.cluster_setting (
  only_row boolean primary key default true check (only_row),
  window_days int not null default 28 check (window_days between 7 and 366),
  cluster_count int check (cluster_count between 2 and 20),
  refit_days int not null default 7 check (refit_days between 1 and 366),
  is_marked boolean not null default true,
  tried_at timestamptz
);

comment on table analytics.cluster_setting is $$
Settings of the clusters of behaviour: one row. `analytics.define_clusters` changes them.
$$;
comment on column analytics.cluster_setting.only_row is $$Always true, so that the table has one row.$$;
comment on column analytics.cluster_setting.window_days is $$
Length of the period of behaviour in days (UTC): the complete days before the fit.
$$;
comment on column analytics.cluster_setting.cluster_count is $$
Number of clusters; null: the number from 3 to 8 with the best silhouette.
$$;
comment on column analytics.cluster_setting.refit_days is $$Number of days after which the clusters are fitted again.$$;
comment on column analytics.cluster_setting.is_marked is $$
Whether the next run of the task fits the clusters: after a change of the settings, and after an erasure.
$$;
comment on column analytics.cluster_setting.tried_at is $$Time of the last fit, or of the last attempt; null before.$$;

insert into analytics.cluster_setting default values;

create table analytics.cluster (
  name text primary key references track.person_set on delete cascade check (name ~ '^cluster[.][a-z0-9_]+$'),
  is_named_by_hand boolean not null default false,
  centroid float8[],
  means float8[],
  deviations float8[],
  person_count int,
  created_at timestamptz not null default now(),
  retired_at timestamptz,
  check ((retired_at is null) = (centroid is not null))
);

comment on table analytics.cluster is $$
@behavior -*
Clusters of people with similar behaviour, which are sets of people (`track.person_set`): see `analytics.fit_clusters`.
Figures are those of the last fit, in the order of `analytics._behaviour_features`.
$$;
comment on column analytics.cluster.name is $$Set of people, such as `cluster.night`.$$;
comment on column analytics.cluster.is_named_by_hand is $$Whether the name was given by `analytics.rename_cluster`.$$;
comment on column analytics.cluster.centroid is $$
Mean of each feature on its scale, which the next fit compares with its own centroids; null when retired.
$$;
comment on column analytics.cluster.means is $$Mean of each feature in its unit; null when retired.$$;
comment on column analytics.cluster.deviations is $$
Difference of the centroid from the mean of all people, in standard deviations; null when retired.
$$;
comment on column analytics.cluster.person_count is $$Number of people in the fit; null when retired.$$;
comment on column analytics.cluster.created_at is $$Time at which the cluster was first found.$$;
comment on column analytics.cluster.retired_at is $$
Time at which a fit found no such cluster; null: a cluster of the last fit. A retired cluster has no people.
$$;

create table analytics.cluster_member (
  identity_id bigint primary key references track.identity on delete cascade,
  name text not null references analytics.cluster on update cascade on delete cascade
);

comment on table analytics.cluster_member is $$
@behavior -*
The cluster of each person in the last fit. People who have opted out since are in none: `analytics.cluster_members`.
$$;
comment on column analytics.cluster_member.identity_id is $$
Identity with the key of the person at the time of the fit. Of people who were merged, that of the remaining key counts.
$$;
comment on column analytics.cluster_member.name is $$Cluster.$$;

create index cluster_member_name on analytics.cluster_member (name);

create table analytics.cluster_fit (
  fitted_at timestamptz primary key,
  since date not null,
  until date not null,
  person_count int not null,
  cluster_count int not null,
  silhouette float8 not null,
  tried int[] not null,
  silhouettes float8[] not null,
  seed bigint not null
);

comment on table analytics.cluster_fit is $$
Fits of the clusters of behaviour, without data of people.
$$;
comment on column analytics.cluster_fit.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_fit.since is $$First day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.until is $$Day after the last day of the behaviour (UTC).$$;
comment on column analytics.cluster_fit.person_count is $$Number of people who were clustered.$$;
comment on column analytics.cluster_fit.cluster_count is $$
Number of clusters, without those of too few people, which were dissolved.
$$;
comment on column analytics.cluster_fit.silhouette is $$
Simplified silhouette of the chosen number of clusters, from -1 to 1, before the small ones were dissolved.
$$;
comment on column analytics.cluster_fit.tried is $$Numbers of clusters that were compared.$$;
comment on column analytics.cluster_fit.silhouettes is $$Simplified silhouette of each of them.$$;
comment on column analytics.cluster_fit.seed is $$
Seed of the random numbers: the same data and seed give the same fit.
$$;

create table analytics.cluster_move (
  fitted_at timestamptz not null references analytics.cluster_fit on delete cascade,
  from_cluster text not null,
  to_cluster text not null,
  person_count int not null check (person_count > 0),
  primary key (fitted_at, from_cluster, to_cluster)
);

comment on table analytics.cluster_move is $$
@behavior -*
Numbers of people by their clusters in a fit and in the one before it, without data of people.
$$;
comment on column analytics.cluster_move.fitted_at is $$Fit.$$;
comment on column analytics.cluster_move.from_cluster is $$Cluster in the fit before; empty: in none.$$;
comment on column analytics.cluster_move.to_cluster is $$Cluster in this fit; empty: in none.$$;
comment on column analytics.cluster_move.person_count is $$Number of people.$$;

alter table analytics.cluster_setting enable row level security;
alter table analytics.cluster enable row level security;
alter table analytics.cluster_member enable row level security;
alter table analytics.cluster_fit enable row level security;
alter table analytics.cluster_move enable row level security;

create type analytics.behaviour_cluster as (
  cluster text,
  description text,
  person_count bigint,
  share float8,
  silhouette float8,
  fitted_at timestamptz,
  is_named_by_hand boolean
);

comment on type analytics.behaviour_cluster is $$
A cluster of behaviour with its size. For analysts, numbers are rounded.
$$;
comment on column analytics.behaviour_cluster.cluster is $$Name: the set of people is `cluster.` and this name.$$;
comment on column analytics.behaviour_cluster.description is $$Description of the behaviour.$$;
comment on column analytics.behaviour_cluster.person_count is $$Number of people, as of now.$$;
comment on column analytics.behaviour_cluster.share is $$
Share of the people of all clusters, from 0 to 1; null when there are none.
$$;
comment on column analytics.behaviour_cluster.silhouette is $$
Simplified silhouette of the fit, from -1 to 1: how well the clusters are separated.
$$;
comment on column analytics.behaviour_cluster.fitted_at is $$Time of the fit.$$;
comment on column analytics.behaviour_cluster.is_named_by_hand is $$Whether an administrator gave the name.$$;

create type analytics.cluster_feature as (
  cluster text,
  feature text,
  description text,
  mean float8,
  deviation float8
);

comment on type analytics.cluster_feature is $$
A feature of the behaviour of a cluster. For analysts, figures are rounded, and null for too few people.
$$;
comment on column analytics.cluster_feature.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_feature.feature is $$Name of the feature.$$;
comment on column analytics.cluster_feature.description is $$Definition of the feature, with its unit.$$;
comment on column analytics.cluster_feature.mean is $$Mean of the people of the cluster.$$;
comment on column analytics.cluster_feature.deviation is $$
Difference from the mean of all people on the scale of the feature, in standard deviations.
$$;

create type analytics.cluster_change as (
  fitted_at timestamptz,
  from_cluster text,
  to_cluster text,
  person_count bigint,
  share float8
);

comment on type analytics.cluster_change is $$
The people who were in one cluster in a fit, and in the same or another one in the next. For analysts rounded.
$$;
comment on column analytics.cluster_change.fitted_at is $$Time of the later fit.$$;
comment on column analytics.cluster_change.from_cluster is $$Cluster in the fit before; null: in none.$$;
comment on column analytics.cluster_change.to_cluster is $$Cluster in this fit; null: in none.$$;
comment on column analytics.cluster_change.person_count is $$Number of people.$$;
comment on column analytics.cluster_change.share is $$Share of the people of `from_cluster`, from 0 to 1.$$;

create type analytics.cluster_size as (fitted_at timestamptz, cluster text, person_count bigint, silhouette float8);

comment on type analytics.cluster_size is $$
The size of a cluster in a fit. For analysts, numbers are rounded.
$$;
comment on column analytics.cluster_size.fitted_at is $$Time of the fit.$$;
comment on column analytics.cluster_size.cluster is $$Name of the cluster.$$;
comment on column analytics.cluster_size.person_count is $$Number of people.$$;
comment on column analytics.cluster_size.silhouette is $$Simplified silhouette of the fit, from -1 to 1.$$;

insert into privacy.retention_class (
  data_class, position, table_name, time_column, person_column, condition, description
)
values (
  'interventions', 40, 'analytics.intervention', 'happened_at', null,
  'not exists (
    select
    from track.identity
    where identity.identity_id = stored.identity_id
      and identity.person_id in (select restricted from privacy.restricted() as restricted)
  )',
  'Notes of what teachers did about learners. Those of learners whose data is restricted are kept.'
);
