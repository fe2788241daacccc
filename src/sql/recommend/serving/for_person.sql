/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_person(
  person text,
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null,
  page text default null
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
    for_person.person, for_person.top, for_person.kind, for_person.exclude_items, for_person.only_items,
    for_person.diversity, for_person.page
  );
  v_context constant recommend.person_context := recommend._named_context(for_person.person, for_person.kind);
begin
  perform privacy.record_disclosure(array[track.find_person(for_person.person)], 'recommend.for_person');
  return query
  select *
  from recommend._rank(v_context, v_request, arm => recommend._arm(v_context, for_person.kind));
end;
$$;

alter function recommend.for_person(text, int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_person(text, int, text, text[], text[], float8, text) is $$
@behavior -mutationField +queryField
Returns recommended items for a person, best first, each with reasons that add up to its score.
`person` is a `userId` or `anonymousId`. As many rows as `top` are returned while items are available: `basis` states
what a row is based on. An unknown person, and one who has opted out of `personalization`, gets what is popular and new.
The further arguments, and what is excluded, are those of `recommend.for_me`.
Errors: CF001 for an empty name, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown
item, CF008 for more than 1,000 items.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.for_person(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
