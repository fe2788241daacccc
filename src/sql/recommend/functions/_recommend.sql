create or replace function recommend._recommend(
  person_id bigint,
  top int,
  kind text
)
returns setof recommend.recommendation
language sql
stable
parallel safe
begin atomic
  select recommendation.*
  from (
    select
      array_agg(history.item_id) as items,
      array_agg(history.strength) as strengths,
      array_agg(history.item_id) filter (where history.is_left_out) as left_out
    from recommend._history(_recommend.person_id, _recommend.kind) as history
  ) as known
  cross join lateral recommend._rank_items(
    _recommend.kind, known.items, known.strengths, known.left_out, _recommend.top
  ) as recommendation;
end;

comment on function recommend._recommend(bigint, int, text) is $$
@behavior -*
Returns recommendations for a person. The history of the person is read with the privileges of the caller.
$$;

grant execute on function recommend._recommend(bigint, int, text) to insights_reader, insights_learner;
