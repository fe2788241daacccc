/* A definer owned by insights_reader: learners may not execute `_rank_given`, which takes the context of any person. */
create or replace function recommend.rank_my_items(items text[], kind text default 'course')
returns setof recommend.ranked_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_context recommend.person_context;
begin
  perform recommend._check(1, rank_my_items.kind);
  v_context := recommend._my_context(rank_my_items.kind);
  return query
  select *
  from recommend._rank_given(
    v_context, rank_my_items.kind, rank_my_items.items, recommend._arm(v_context, rank_my_items.kind)
  );
end;
$$;

alter function recommend.rank_my_items(text[], text) owner to insights_reader;

comment on function recommend.rank_my_items(text[], text) is $$
Returns given items in the order in which they are recommended to the signed-in person, with scores and reasons.
As `recommend.rank_items`; of the rules of administrators, `rule` is the action, such as `exclude`.
Errors: CF001 for no list, CF002 for a kind that no item has and for an unknown item (names the nearest), CF008 for more
than 1,000 items.
$$;

grant execute on function recommend.rank_my_items(text[], text) to insights_learner;
