create or replace function recommend.for_me(
  top int default 10,
  kind text default 'course'
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  perform recommend._check(for_me.top, for_me.kind);
  return query
  select *
  from recommend._recommend(track.current_person_id(), for_me.top, for_me.kind);
end;
$$;

comment on function recommend.for_me(int, text) is $$
Returns recommended items for the signed-in person, best first, each with reasons that add up to its score.
Excluded are items that the person has taken, finished, dismissed or enrolled in, those that she teaches or wrote, and
items that are not available now. Events count as soon as they are stored. Items are ranked by popularity for a person
without interactions, and for one who has opted out of `personalization`.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_me(int, text) to insights_learner;
