/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.for_person(
  person text,
  top int default 10,
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
begin
  if nullif(btrim(for_person.person), '') is null then
    perform common.refuse('CF001', 'the person is ' || coalesce('"' || for_person.person || '"', 'null'),
      'Give the userId or anonymousId that was sent with events.');
  end if;
  perform recommend._check(for_person.top, for_person.kind);
  return query
  select *
  from recommend._recommend(track.find_person(for_person.person), for_person.top, for_person.kind);
end;
$$;

alter function recommend.for_person(text, int, text) owner to insights_reader;

comment on function recommend.for_person(text, int, text) is $$
Returns recommended items for a person, best first, each with reasons that add up to its score.
`person` is a `userId` or `anonymousId`. Excluded are items that the person has taken, finished, dismissed or enrolled
in, those that she teaches or wrote, and items that are not available now. Events count as soon as they are stored.
Items are ranked by popularity for an unknown person, and for one who has opted out of `personalization`; `basis` is
then `popularity`.
Errors: CF001 for an empty name or `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_person(text, int, text) to insights_admin, insights_worker;
