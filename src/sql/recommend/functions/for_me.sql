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
Items for the person who is signed in, best first, each with reasons that add up to its score.
Left out is what the person has taken, finished, dismissed or is enrolled in, and what is not available now. An event counts from the moment that it is stored.
Of whom nothing is known, or who objected to `personalization`, gets what is popular.
Errors: CF001 for `top`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.for_me(int, text) to insights_learner;
