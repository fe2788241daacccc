-- Changes of structure since the last release: see migrations/README.md.

/* --- serving: the lists of a set of people are found by its name alone --- */

drop index if exists recommend.ranked_list_order;
create index ranked_list_order on recommend.ranked_list (list, kind, score desc, item_id);

-- Functions whose arguments changed.
drop function if exists recommend._gather(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[], int, bigint[], float8[], text[]
);
drop function if exists recommend._explain(
  recommend.person_context, text, bigint, int, int, bigint[], text[], float8[], bigint[], int, text
);

-- Rows of former versions are changed by the next training.
alter table recommend.neighbours set (toast_tuple_target = 8160);
