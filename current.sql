-- Changes of structure since the last release: see migrations/README.md.

alter table recommend.serving_call drop column if exists call_id;
alter table recommend.serving_call replica identity full;

comment on table recommend.serving_call is $$
@behavior -*
Calls of `recommend.serve_me` and its variants that `recommend.refresh_serving_times` has not counted yet.
Append-only, so that no call waits for another one. Without the person and the time of the list, and without a key,
whose index would take as long as the row: a publication of logical replication identifies a row by all of its columns.
$$;
