-- Changes of structure since the last release: see migrations/README.md.

-- A list that is served is one row until the next refresh, which stores its rows.
alter table track.consumer
add column if not exists collect_function text check (collect_function ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.collect_function is $$
Name of a function of `most int` that returns an integer; null: it needs none.
`track.refresh` calls it before the refresh of the consumer, under the same lock. It stores at most `most` rows of a
queue of the room, queues the people whose data changes with them, and returns the number of rows.
$$;
update track.consumer
set collect_function = 'recommend.collect_servings'
where consumer = 'recommend.impression'
  and collect_function is null;

drop function if exists
  recommend._served_rows(recommend.recommendation[], bigint, bigint, int, smallint, text),
  recommend._record_list(recommend.recommendation[], text, text, timestamptz),
  recommend.refresh_serving_times(int),
  track.queue_people(text, bigint[]);
alter table recommend.serving_call
add column if not exists person_id bigint,
add column if not exists identity_id bigint,
add column if not exists serving_ids text[],
add column if not exists scores float8[],
-- A list of 50 rows stays in its row, and is not compressed: it is there for a minute.
set (toast_tuple_target = 8160);
create index if not exists serving_call_person on recommend.serving_call (person_id) where person_id is not null;
comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants since the last refresh, with their lists.
`recommend.collect_servings` stores the lists in `recommend.impression`, counts the durations and deletes the rows.
Append-only, so that no call waits for another one, and one row for a list, so that the record takes a small part of the
time of the list. Without a key, whose index would take as long as the row: a publication of logical replication
identifies a row by all of its columns.
$$;
comment on column recommend.serving_call.person_id is $$
Person to whom the list was served, at that time; null for a list that is only counted.
$$;
comment on column recommend.serving_call.identity_id is $$
Identity for which the list was made; null for a list that is only counted.
$$;
comment on column recommend.serving_call.serving_ids is $$
The `serving_id` of each row of the list; null for a list that is only counted.
$$;
comment on column recommend.serving_call.scores is $$Scores of the rows of the list, in the same order.$$;
comment on table recommend.impression is $$
@foreignKey (item_id) references track.item (item_id)
@foreignKey (experiment_id) references experiment.experiment (experiment_id)
Recommended items that were served to people or seen by them, one row per row of a list.
The rows that `recommend.serve_me` and its variants return are added by the next refresh (`track.refresh`); a row of a
list of `recommend.for_me` is added when an event names its `serving_id`. The columns from `seen_at` on are computed
from the events of the person, in any order of arrival. Rows follow their identity in merges of people.
$$;
-- Popular and trending items, features, RFM, paths and times of funnels have a breakdown; items and transitions a set.
drop view if exists analytics.course_popularity, analytics.feature_overview;
drop function if exists
  analytics._popular_items(text, timestamptz, timestamptz, interval, text, int),
  analytics._popular_items_ranked(text, timestamptz, timestamptz, interval, int, text, int),
  analytics._popular_items_exact(text, timestamptz, timestamptz, interval, int, text),
  analytics._popular_items_shown(text, timestamptz, timestamptz, interval, int, text),
  analytics.popular_items(text, timestamptz, timestamptz, interval, int, text),
  analytics._popular_courses(timestamptz, timestamptz, text, int, text, float8, float8, int),
  analytics._popular_courses_exact(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics.popular_courses(timestamptz, timestamptz, text, int, text, float8, float8),
  analytics._trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8, int),
  analytics._trending_items_exact(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics._trending_items_shown(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics.trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8),
  analytics._feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean, int),
  analytics._feature_usage_exact(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics._feature_usage_shown(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics.feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean),
  analytics._rfm(timestamptz, timestamptz, text, int),
  analytics._rfm_cells(timestamptz, timestamptz, text, int),
  analytics._rfm_exact(timestamptz, timestamptz, text),
  analytics._rfm_shown(timestamptz, timestamptz, text),
  analytics.rfm(timestamptz, timestamptz, text),
  analytics._funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, int),
  analytics._funnel_times_exact(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics._funnel_times_shown(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics.funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text),
  analytics._paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, int),
  analytics._paths_exact(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics._paths_shown(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics.paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int),
  analytics._sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int, int),
  analytics._sequences_exact(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics._sequences_shown(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics.sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int),
  analytics._transitions(timestamptz, timestamptz, text, text[], text[], int, int),
  analytics._transitions_exact(timestamptz, timestamptz, text, text[], text[], int),
  analytics._transitions_shown(timestamptz, timestamptz, text, text[], text[], int),
  analytics.transitions(timestamptz, timestamptz, text, text[], text[], int),
  analytics._session_paths(timestamptz, timestamptz, int[], int[], int, int, int, boolean, text, text, int),
  analytics._item_use(text, date, date, interval, date, int),
  analytics._item_days(text, date, date, text, int),
  analytics._course_use(date, date, text, int),
  analytics._course_completion(text, int),
  analytics._course_ratings(text, int),
  analytics._feature_people(int, text, date, date, date, date, int, text, int),
  analytics._people_among(text, int, boolean),
  track.month_transitions(date);

do $do$
begin
  if not exists (
    select
    from pg_attribute
    where attrelid = to_regclass('analytics.popular_item')
      and attname = 'breakdown_value'
  ) then
    alter type analytics.popular_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.popular_course add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.trending_item add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.used_feature add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.rfm_cell add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.funnel_time add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.path_edge add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.path_sequence add attribute breakdown_value text, add attribute is_other boolean;
    alter type analytics.transition add attribute breakdown_value text, add attribute is_other boolean;
  end if;
end;
$do$;
comment on column analytics.popular_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.popular_course.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.popular_course.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.trending_item.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.trending_item.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.used_feature.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.used_feature.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.rfm_cell.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.rfm_cell.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.funnel_time.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.funnel_time.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.path_edge.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_edge.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.path_sequence.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.path_sequence.is_other is $$Whether the row is about all values that are not named.$$;
comment on column analytics.transition.breakdown_value is $$
Value of the breakdown; null for people without one, for other values, and without a breakdown.
$$;
comment on column analytics.transition.is_other is $$Whether the row is about all values that are not named.$$;

--!include analytics/views.sql
create table if not exists ml.calibration (
  model_id bigint not null references ml.model on delete cascade,
  part text not null check (part in ('held out', 'latest')),
  class_number int not null check (class_number >= 0),
  bin int not null check (bin > 0),
  class text,
  row_count bigint not null,
  mean_predicted float8 not null,
  fraction_positive float8 not null,
  fraction_lower float8 not null,
  fraction_upper float8 not null,
  measured_at timestamptz not null default clock_timestamp(),
  primary key (model_id, part, class_number, bin),
  check ((class is null) = (class_number = 0))
);

comment on table ml.calibration is $$
Predicted probabilities of a version against what was observed, in bins of equal numbers of rows.
A bin has 20 rows or more; with fewer than 40 rows, there is none. Versions that predict no probability have none.
$$;
comment on column ml.calibration.model_id is $$Version.$$;
comment on column ml.calibration.part is $$
Rows that it was measured on.
`held out`: in its training or last comparison; `latest`: those with a known outcome when its drift was measured.
$$;
comment on column ml.calibration.class_number is $$
Number of the class, from 1, in a model of several classes; 0: the model has two, and predicts the probability of one.
$$;
comment on column ml.calibration.bin is $$1, 2, 3, … by rising probability.$$;
comment on column ml.calibration.class is $$Name of the class; null for models of two classes.$$;
comment on column ml.calibration.row_count is $$Number of rows in the bin.$$;
comment on column ml.calibration.mean_predicted is $$Mean of the predicted probabilities.$$;
comment on column ml.calibration.fraction_positive is $$Share of the rows in which the class was observed.$$;
comment on column ml.calibration.fraction_lower is $$Lower end of the 95 % Wilson interval of that share.$$;
comment on column ml.calibration.fraction_upper is $$Upper end of it.$$;
comment on column ml.calibration.measured_at is $$When.$$;

alter table ml.calibration enable row level security;
