-- Changes of structure since the last release: see migrations/README.md.

/* -------------------------------------------------------------------------- recommend: shared tables and types -- */

/* --------------------------------------------------------------------------------------------- neighbour lists -- */

create table if not exists recommend.model_part (
  model_id bigint not null references ml.model on delete cascade,
  part smallint not null check (part > 0),
  algorithm text not null,
  share real not null default 1 check (share > 0 and share < 'infinity'),
  history_decay real not null default 1 check (history_decay > 0 and history_decay <= 1),
  primary key (model_id, part)
);

comment on table recommend.model_part is $$
@behavior -*
Parts of versions of recommenders. The score of an item is the sum of its scores by the parts, each times `share`.
$$;
comment on column recommend.model_part.model_id is $$Version of the model.$$;
comment on column recommend.model_part.part is $$Number of the part, from 1.$$;
comment on column recommend.model_part.algorithm is $$Method of the part, such as `ease`.$$;
comment on column recommend.model_part.share is $$Factor of the scores of the part.$$;
comment on column recommend.model_part.history_decay is $$
Factor of the strength of an item for each item that the person used later: 1 means that the order does not matter.
$$;

create table if not exists recommend.neighbours (
  model_id bigint not null,
  part smallint not null,
  item_id bigint not null references track.item,
  person_count int not null check (person_count >= 0),
  neighbour_ids bigint[] not null,
  weights real[] not null,
  primary key (model_id, part, item_id),
  foreign key (model_id, part) references recommend.model_part on delete cascade,
  check (cardinality(neighbour_ids) = cardinality(weights))
);

comment on table recommend.neighbours is $$
@behavior -*
Weights of models between items: one row per item of a person, with the items whose score it changes.
The score of an item for a person is the sum of the weights from the items of the person, times their strengths.
$$;
comment on column recommend.neighbours.model_id is $$Version of the model.$$;
comment on column recommend.neighbours.part is $$Part of the version.$$;
comment on column recommend.neighbours.item_id is $$Item of the person.$$;
comment on column recommend.neighbours.person_count is $$
Number of people who had taken the item when the version was trained.
$$;
comment on column recommend.neighbours.neighbour_ids is $$
Items whose score the item changes, in ascending order, without the item itself.
$$;
comment on column recommend.neighbours.weights is $$Weight of each of them.$$;

create index if not exists neighbours_item on recommend.neighbours (item_id);

/* ----------------------------------------------------------------------------------------------- ranked lists -- */

create table if not exists recommend.ranked_list (
  kind text not null,
  list text not null,
  item_id bigint not null references track.item,
  score real not null,
  primary key (kind, list, item_id)
);

comment on table recommend.ranked_list is $$
@behavior -*
Lists of items that are the same for many people: `popular`, `trending`, and one list per segment.
Maintained by `recommend.refresh_lists`.
$$;
comment on column recommend.ranked_list.kind is $$Kind of the items.$$;
comment on column recommend.ranked_list.list is $$`popular`, `trending`, or the name of a set of people.$$;
comment on column recommend.ranked_list.item_id is $$Item.$$;
comment on column recommend.ranked_list.score is $$Score, from 0 to 1 for the best item of the list.$$;

create index if not exists ranked_list_order on recommend.ranked_list (kind, list, score desc, item_id);
create index if not exists ranked_list_item on recommend.ranked_list (item_id);


alter table recommend.model_part enable row level security;
alter table recommend.neighbours enable row level security;
alter table recommend.ranked_list enable row level security;

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'recommend.recommendation'::regclass and attname = 'next_page'
  ) then
    alter type recommend.recommendation add attribute propensity float8, add attribute next_page text;
  end if;
end;
$do$;
comment on column recommend.recommendation.propensity is $$
Probability with which the item was drawn for a marked slot; null for the other rows.
$$;
comment on column recommend.recommendation.next_page is $$
On the last row: argument `page` of the call that continues this list, without repeating an item. Null on the others.
$$;

do $do$
begin
  if to_regtype('recommend.person_context') is null then
    create type recommend.person_context as (
      person_id bigint,
      identity_id bigint,
      items bigint[],
      strengths real[],
      left_out bigint[],
      left_out_reasons text[],
      finished bigint[],
      dismissed_topics text[],
      languages text[],
      person_sets text[],
      shown bigint[],
      shown_at timestamptz[]
    );
  end if;
end;
$do$;

comment on type recommend.person_context is $$
@behavior -*
What a list for a person depends on: read with the privileges of the caller, and given to the functions that rank.
$$;
comment on column recommend.person_context.person_id is $$Person; null when unknown.$$;
comment on column recommend.person_context.identity_id is $$
Identity for which lists are signed: the one of the name that was given; 0 when unknown.
$$;
comment on column recommend.person_context.items is $$
Items of the kind that the person likes or dislikes, in the order of their last use, the earliest first.
$$;
comment on column recommend.person_context.strengths is $$Strength of each of `items`, from -1 to 1, not 0.$$;
comment on column recommend.person_context.left_out is $$
Items of the kind that are not recommended to the person because of what she did.
$$;
comment on column recommend.person_context.left_out_reasons is $$
Reason for each of `left_out`: `completed`, `taken`, `enrolled`, `dropped`, `dismissed`, `known`, `disliked` or `own`.
$$;
comment on column recommend.person_context.finished is $$Items of any kind that the person has finished or knows.$$;
comment on column recommend.person_context.dismissed_topics is $$Topics that the person is not interested in.$$;
comment on column recommend.person_context.languages is $$
Languages of the person (BCP 47, lower case); empty when unknown.
$$;
comment on column recommend.person_context.person_sets is $$
Sets of people that contain the person, of those that a rule or a ranked list names.
$$;
comment on column recommend.person_context.shown is $$Items that were served to the person lately.$$;
comment on column recommend.person_context.shown_at is $$Time at which each of `shown` was last served.$$;

do $do$
begin
  if to_regtype('recommend.request') is null then
    create type recommend.request as (
      kind text,
      top int,
      excluded bigint[],
      only_items bigint[],
      diversity float8,
      is_explored boolean,
      page text
    );
  end if;
end;
$do$;

comment on type recommend.request is $$
@behavior -*
What a caller asks for.
$$;
comment on column recommend.request.kind is $$Kind of the items.$$;
comment on column recommend.request.top is $$Maximum number of items.$$;
comment on column recommend.request.excluded is $$Items that the list must not contain.$$;
comment on column recommend.request.only_items is $$Items that the list may contain; null: all items of the kind.$$;
comment on column recommend.request.diversity is $$
Weight of the diversity of the list against its scores, from 0 to 1; null: that of `recommend.setting`.
$$;
comment on column recommend.request.is_explored is $$Whether the marked slots may hold items drawn at random.$$;
comment on column recommend.request.page is $$
Value of `next_page` of the list that is continued; null for the first page.
$$;

/* ------------------------------------------------------------------------------------------- ml: recommenders -- */

drop function if exists ml.ease_train(text, text, text, text, float8);

do $do$
begin
  if not exists (
    select
    from pg_catalog.pg_attribute
    where attrelid = 'ml.ease_sums'::regclass and attname = 'person_counts'
  ) then
    alter type ml.ease_sums add attribute person_counts int[];
  end if;
  if to_regtype('ml.neighbour_row') is null then
    create type ml.neighbour_row as (item_no int, neighbours int[], weights real[]);
  end if;
  if to_regtype('ml.item_neighbours') is null then
    create type ml.item_neighbours as (item text, neighbours text[], weights real[]);
  end if;
  if to_regtype('ml.content_row') is null then
    create type ml.content_row as (item text, embedding vector);
  end if;
end;
$do$;
comment on column ml.ease_sums.person_counts is $$Number of people of each item.$$;

comment on type ml.neighbour_row is $$
@behavior -*
An item of a recommender whose weights are sparse, and the items whose scores it changes.
The score of an item for a person is the sum of the weights from the items of the person.
$$;
comment on column ml.neighbour_row.item_no is $$Number of the item, from 1.$$;
comment on column ml.neighbour_row.neighbours is $$
Numbers of the items whose score it changes, in ascending order, without the item itself.
$$;
comment on column ml.neighbour_row.weights is $$Weight of each of them.$$;

comment on type ml.item_neighbours is $$
@behavior -*
An item of a recommender whose weights are sparse, and the items whose scores it changes, by name.
$$;
comment on column ml.item_neighbours.item is $$The item, as text.$$;
comment on column ml.item_neighbours.neighbours is $$
Items whose score it changes, as text, the strongest weight first, without the item itself.
$$;
comment on column ml.item_neighbours.weights is $$Weight of each of them.$$;

comment on type ml.content_row is $$
@behavior -*
An item and the vector of its text.
$$;
comment on column ml.content_row.item is $$The item, as text.$$;
comment on column ml.content_row.embedding is $$Vector of length 1; null when the text has no word.$$;
