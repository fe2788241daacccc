/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_session(
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
    for_session.person, for_session.top, for_session.kind, for_session.exclude_items, for_session.only_items,
    for_session.diversity, for_session.page
  );
  v_context constant recommend.person_context := recommend._session_context(
    track.find_person(for_session.person), track.find_identity(for_session.person), for_session.kind
  );
begin
  perform privacy.record_disclosure(array[track.find_person(for_session.person)], 'recommend.for_session');
  return query
  select *
  from recommend._rank(v_context, v_request, arm => recommend._arm(v_context, for_session.kind));
end;
$$;

alter function recommend.for_session(text, int, text, text[], text[], float8, text) owner to insights_reader;

comment on function recommend.for_session(text, int, text, text[], text[], float8, text) is $$
@behavior -mutationField +queryField
Returns recommended items for what a person does now: by the items of the last session alone.
`person` is an `anonymousId` or a `userId`. The items of the last 20 events count, up to a pause that ends a session
(`track.setting.session_timeout`); a page or a task counts as the course that contains it. Everything else, such as what
is left out, is as in `recommend.for_person`.
Errors: CF001 for an empty name, `top`, `diversity` and `page`, CF002 for a kind that no item has and for an unknown
item, CF008 for more than 1,000 items.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.for_session(text, int, text, text[], text[], float8, text)
to insights_admin, insights_worker;
