/* A definer: no role may read the weights, and visitors may not read the items. It reads no data about people. */
create or replace function recommend.for_items(
  items text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
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
    for_items.top, for_items.kind, for_items.exclude_items, for_items.only_items, for_items.diversity, for_items.page
  );
  v_given constant bigint[] := recommend._find_items(for_items.items);
  v_used bigint[];
begin
  if v_given is null then
    perform common.refuse('CF001', 'items is null', 'Give the items, the one that was used first in front.');
  end if;
  v_used := recommend._items_of_kind(v_given, for_items.kind, 100);
  return query
  select *
  from recommend._rank(
    row(
      null, 0, v_used, array_fill(1::real, array[cardinality(v_used)]),
      v_given, array_fill('given'::text, array[cardinality(v_given)]), v_given, '{}', '{}', '{}', '{}', '{}'
    )::recommend.person_context,
    v_request
  );
end;
$$;

comment on function recommend.for_items(text[], int, text, text[], text[], float8, text) is $$
Returns recommended items for given ones, such as a basket or the last items of a session, the first used in front.
No data about people is read. An item that is part of one of the kind counts as that one; the last 100 items count, and
are not returned. Prerequisites that are among the items are taken as fulfilled. Weights of items that fewer than
`analytics.setting.smallest_group` people had taken at the training are not used. Without such weights, the list has
what is popular and new. The further arguments are those of `recommend.for_me`.
Errors: CF001 for `items`, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown item,
CF008 for more than 1,000 items.
$$;

grant execute on function recommend.for_items(text[], int, text, text[], text[], float8, text)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
