/* A definer owned by insights_reader: learners may not execute `_rank`, which takes the context of any person. */
create or replace function recommend.my_next_item(
  top int default 1,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    my_next_item.top, my_next_item.kind, null, null, null, null
  );
  v_context constant recommend.person_context := recommend._my_context(my_next_item.kind);
begin
  return query
  select *
  from recommend._rank(
    v_context, v_request, first_items => recommend._next_items(v_context),
    arm => recommend._arm(v_context, my_next_item.kind)
  );
end;
$$;

alter function recommend.my_next_item(int, text) owner to insights_reader;

comment on function recommend.my_next_item(int, text) is $$
Returns what the signed-in person can do next: the rows of `recommend.next_item` for her.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.my_next_item(int, text) to insights_learner;
