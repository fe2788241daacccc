/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.rank_items(person text, items text[], kind text default 'course')
returns setof recommend.ranked_item
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_context recommend.person_context;
begin
  perform recommend._check_person(rank_items.person);
  perform recommend._check(1, rank_items.kind);
  perform privacy.record_disclosure(array[track.find_person(rank_items.person)], 'recommend.rank_items');
  v_context := recommend._named_context(rank_items.person, rank_items.kind);
  return query
  select *
  from recommend._rank_given(
    v_context, rank_items.kind, rank_items.items, recommend._arm(v_context, rank_items.kind)
  );
end;
$$;

alter function recommend.rank_items(text, text[], text) owner to insights_reader;

comment on function recommend.rank_items(text, text[], text) is $$
@behavior -mutationField +queryField
Returns given items in the order in which they are recommended to a person, with scores and reasons.
`person` is a `userId` or `anonymousId`. The scores and the order are those of `recommend.for_person`, without diversity
and draws. Items that are left out come last, without a rank, with the rule and its explanation; an item of another
kind too. Repeated names, also by a merge, are ranked once.
Errors: CF001 for an empty name and for no list, CF002 for a kind that no item has and for an unknown item (names the
nearest), CF008 for more than 1,000 items.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.rank_items(text, text[], text) to insights_admin, insights_worker;
