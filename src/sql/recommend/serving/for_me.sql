/* A definer owned by insights_reader: learners may not execute `_rank`, which takes the context of any person. */
create or replace function recommend.for_me(
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
    for_me.top, for_me.kind, for_me.exclude_items, for_me.only_items, for_me.diversity, for_me.page
  );
  v_context constant recommend.person_context := recommend._my_context(for_me.kind);
begin
  return query
  select *
  from recommend._rank(v_context, v_request, arm => recommend._arm(v_context, for_me.kind));
end;
$$;

alter function recommend.for_me(int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_me(int, text, text[], text[], float8, text) is $$
Returns recommended items for the signed-in person, best first, each with reasons that add up to its score.
As many rows as `top` are returned while items are available: `basis` states what a row is based on. Excluded are items
that the person has taken, finished, dismissed or enrolled in, those that she teaches or wrote, and items that are not
available now. Events count as soon as they are stored. For a person who has opted out of `personalization`, nothing
that she did is used.
`exclude_items`: items that the list must not contain; `only_items`: the only ones that it may contain; `page`:
`next_page` of the list that is continued, for a day. It is in the last of the `top` rows: over GraphQL, give `top` and
not `first`.
Errors: CF001 for `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown item, CF008 for
more than 1,000 items.
$$;

grant execute on function recommend.for_me(int, text, text[], text[], float8, text) to insights_learner;
