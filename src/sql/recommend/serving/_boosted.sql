create or replace function recommend._boosted(
  context recommend.person_context,
  kind text,
  items bigint[],
  amounts float8[],
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
begin
  select
    coalesce(array_agg(scored.item_id order by scored.score desc, scored.place), '{}'),
    coalesce(array_agg(scored.score order by scored.score desc, scored.place), '{}')
  into item_ids, scores
  from (
    select candidate.item_id, candidate.place, candidate.score + coalesce(boosted.amount, 0) as score
    from unnest(_boosted.items, _boosted.amounts) with ordinality as candidate (item_id, score, place)
    left join (
      select boost.item_id, sum(boost.amount order by boost.rule) as amount
      from recommend._boosts(_boosted.context, _boosted.kind, _boosted.items) as boost
      group by boost.item_id
    ) as boosted using (item_id)
  ) as scored;
end;
$$;

comment on function recommend._boosted(recommend.person_context, text, bigint[], float8[]) is $$
@behavior -*
Returns candidates in the order of their scores and what rules add to them.
$$;
