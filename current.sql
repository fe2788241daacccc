-- Changes of structure since the last release: see migrations/README.md.

drop function monitor._position_influence(bigint[], int[], int[], float8[], float8[], int[], float8[], float8[]);
drop function monitor._position_step(bigint[], int[], float8[], float8[], int[], float8[]);
drop function monitor._fit_positions(bigint[], int[], float8[], float8[], int[]);
drop function monitor._listed(timestamptz, timestamptz, text, text, boolean, int);
drop type monitor.listed;

create type monitor.listed_sum as (
  name text,
  starts_at timestamptz,
  person_id bigint,
  rank int,
  bucket int,
  item_id bigint,
  list_count float8,
  served_count float8,
  seen_count float8,
  clicked_count float8,
  completed_count float8,
  dismissed_count float8,
  liked_count float8,
  disliked_count float8
);

comment on type monitor.listed_sum is $$
@behavior -*
Numbers of rows of recorded lists of a reported group: of a person, of a rank and a bucket of people, or of an item.
$$;
comment on column monitor.listed_sum.name is $$Name of the group.$$;
comment on column monitor.listed_sum.starts_at is $$Beginning of the week or of the deployment that is reported.$$;
comment on column monitor.listed_sum.person_id is $$Person; null for a rank or an item.$$;
comment on column monitor.listed_sum.rank is $$Rank in the list; null for a person or an item.$$;
comment on column monitor.listed_sum.bucket is $$Bucket of people, from 0 to 63; null for a person or an item.$$;
comment on column monitor.listed_sum.item_id is $$Item, after merges; null for a person or a rank.$$;
comment on column monitor.listed_sum.list_count is $$Number of lists; null for a rank or an item.$$;
comment on column monitor.listed_sum.served_count is $$Number of rows.$$;
comment on column monitor.listed_sum.seen_count is $$Rows that an event names; null for a rank or an item.$$;
comment on column monitor.listed_sum.clicked_count is $$Rows that were clicked; null for an item.$$;
comment on column monitor.listed_sum.completed_count is $$
Rows whose item was finished afterwards; null for a rank or an item.
$$;
comment on column monitor.listed_sum.dismissed_count is $$Rows that were dismissed; null for a rank or an item.$$;
comment on column monitor.listed_sum.liked_count is $$Rows that were liked; null for a rank or an item.$$;
comment on column monitor.listed_sum.disliked_count is $$Rows that were disliked; null for a rank or an item.$$;

comment on column recommend.serving_time.counts is $$
Numbers of calls by their duration.
A number counts those of at most the bound of `common.duration_bounds()` at its position, and more than the bound
before. The last one counts those above all bounds.
$$;

alter type monitor.list_duration add attribute item_count float8;
comment on column monitor.list_duration.item_count is $$Number of rows of the lists.$$;
