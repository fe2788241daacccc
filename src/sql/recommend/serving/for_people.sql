/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_people(
  people text[],
  top int default 10,
  kind text default 'course',
  exclude_items text[] default null,
  only_items text[] default null,
  diversity float8 default null
)
returns setof recommend.person_recommendation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request constant recommend.request := recommend._request(
    for_people.top, for_people.kind, for_people.exclude_items, for_people.only_items, for_people.diversity, null
  );
  v_people text[];
  v_person text;
  v_context recommend.person_context;
begin
  if for_people.people is null or cardinality(for_people.people) > 1000 then
    perform common.refuse(
      'CF008', format('%s people are given', coalesce(cardinality(for_people.people)::text, 'null')),
      'Give from 0 to 1,000 people.'
    );
  end if;
  -- A name that is given twice is one person.
  v_people := array(
    select given.person
    from unnest(for_people.people) with ordinality as given (person, place)
    group by given.person
    order by min(given.place)
  );
  perform recommend._check_person(given.person) from unnest(v_people) as given (person);
  perform privacy.record_disclosure(
    array(select track.find_person(given.person) from unnest(v_people) as given (person)), 'recommend.for_people'
  );
  foreach v_person in array v_people loop
    v_context := recommend._named_context(v_person, for_people.kind);
    return query
    select v_person, recommendation.*
    from recommend._rank(v_context, v_request, arm => recommend._arm(v_context, for_people.kind)) as recommendation;
  end loop;
end;
$$;

alter function recommend.for_people(text[], int, text, text[], text[], float8) owner to insights_reader;

comment on function recommend.for_people(text[], int, text, text[], text[], float8) is $$
@behavior -mutationField +queryField
Returns recommended items for each of at most 1,000 people, in the order of the given names.
A name that is given more than once has one list. The rows of a person are those of `recommend.for_person`.
Errors: CF001 for an empty name, `top` and `diversity`, CF002 for a kind that no item has and for an unknown item, CF008
for more than 1,000 people or items.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.for_people(text[], int, text, text[], text[], float8)
to insights_admin, insights_worker;
