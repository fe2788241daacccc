/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.next_item(
  person text,
  top int default 1,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._person_request(
    next_item.person, next_item.top, next_item.kind, null, null, null, null
  );
  v_context constant recommend.person_context := recommend._named_context(next_item.person, next_item.kind);
begin
  perform privacy.record_disclosure(array[track.find_person(next_item.person)], 'recommend.next_item');
  return query
  select *
  from recommend._rank(
    v_context, v_request, first_items => recommend._next_items(v_context),
    arm => recommend._arm(v_context, next_item.kind)
  );
end;
$$;

alter function recommend.next_item(text, int, text) owner to insights_reader;

comment on function recommend.next_item(text, int, text) is $$
@behavior -mutationField +queryField
Returns what a person can do next: items of any kind in the course that she used last, then other courses.
The items follow the one that was used last, in the order of the tree (attribute `position`, or else in which they were
first seen), without those that are finished or whose prerequisites are not (`basis` is `next`). When the course has no
such item, and after these items, the rows are those of `recommend.for_person` for `kind`.
Errors: CF001 for an empty name and `top`, CF002 for a kind that no item has.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.next_item(text, int, text) to insights_admin, insights_worker;
