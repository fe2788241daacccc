-- Changes of structure since the last release: see migrations/README.md.

alter table track.consumer add column if not exists reads_set text check (reads_set ~ '^[a-z][a-z_]*\.[a-z][a-z_]*$');
comment on column track.consumer.reads_set is $$
Name of a function of `set_name text` that returns whether the derived data depends on this set; null: on all sets.
A consumer with the input `set` is queued when people join or leave a set that it reads.
$$;
update track.consumer
set reads_set = split_part(consumer.consumer, '.', 1) || '.reads_set'
where consumer.consumer in ('analytics.cohort', 'experiment.exposure');

drop function if exists track._recompute_person_set(track.person_set, bigint[]);
