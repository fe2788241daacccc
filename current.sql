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
