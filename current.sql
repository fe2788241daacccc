-- Changes of structure since the last release: see migrations/README.md.

/* --- serving: the lists of a set of people are found by its name alone --- */

drop index if exists recommend.ranked_list_order;
create index ranked_list_order on recommend.ranked_list (list, kind, score desc, item_id);
