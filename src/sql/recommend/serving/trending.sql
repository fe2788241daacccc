/* A definer: visitors may not read the items and lists. It reads no data about people. */
create or replace function recommend.trending(
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
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
    trending.top, trending.kind, trending.exclude_items, trending.only_items, null, trending.page
  );
begin
  return query
  select *
  from recommend._rank(
    row(null, 0, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')::recommend.person_context,
    v_request,
    '{trending,popularity,newest}'
  );
end;
$$;

comment on function recommend.trending(int, text, text[], text[], text) is $$
Returns the items that are used more than expected, the most significant first; then what is popular and new.
Trending items are those of `analytics.trending_items` in the last seven days, as of the last refresh of the lists, with
a day of at least `analytics.setting.smallest_group` people. The list is the same for all people. `exclude_items`,
`only_items` and `page` are those of `recommend.for_me`.
Errors: CF001 for `top` and `page`, CF002 for a kind that no item has and for an unknown item, CF008 for more than 1,000
items.
$$;

grant execute on function recommend.trending(int, text, text[], text[], text)
to insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
