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

create or replace function recommend._raised(
  context recommend.person_context,
  request recommend.request,
  tiers text[],
  model_id bigint,
  fewest_people int,
  seen bigint[],
  out item_ids bigint[],
  out scores float8[],
  out bases text[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
declare
  v_most constant int := 1000;
  v_kind constant text := (_raised.request).kind;
  v_request recommend.request := _raised.request;
  v_seen bigint[] := _raised.seen;
  -- As in a list: items that the model lowers are in no other tier.
  v_tiers constant text[] := array(
    select tier.name
    from unnest(array_remove(_raised.tiers, 'lowered') || '{lowered}'::text[]) with ordinality as tier (name, place)
    order by case tier.name when 'model' then 0 when 'lowered' then 1 else 2 end, tier.place
  );
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_raised.context, v_kind, now()) as known
    where known.action = 'boost'
      and known.amount > 0
  );
  -- No item is its own neighbour: without this, a liked one would come after all that resembles it.
  v_liked constant bigint[] := array(
    select used.item_id
    from unnest((_raised.context).items, (_raised.context).strengths) as used (item_id, strength)
    where used.strength >= 1
      and used.item_id not in (select known.item_id from unnest(_raised.seen) as known (item_id))
  );
  v_items bigint[];
  v_found_items bigint[] := '{}';
  v_found_scores float8[] := '{}';
  v_found_bases text[] := '{}';
  v_tier text;
  v_found record;
begin
  item_ids := '{}';
  scores := '{}';
  bases := '{}';
  if v_rules is null and v_liked = '{}' then
    return;
  end if;

  v_items := array(
    (
      select coalesce(named.merged_item_id, named.item_id)
      from unnest(v_rules) as rule
      join recommend.rule_item as listed on listed.name = rule.name
      join track.item as named on named.item_id = listed.item_id
      where rule.has_items
      order by rule.amount desc, listed.item_id
      limit v_most
    )

    union all

    select part.item_id
    from unnest(v_rules) as rule
    join track.item as root on root.item_id = rule.within_item_id
    cross join lateral (
      select ancestor.item_id
      from track.item_ancestor as ancestor
      join track.item as known on known.item_id = ancestor.item_id
      where ancestor.ancestor_item_id = coalesce(root.merged_item_id, root.item_id)
        and known.kind = v_kind
      order by ancestor.item_id desc
      limit v_most
    ) as part
    where not rule.has_items
  );
  -- No index finds the items with an attribute or a language: those among the best of each tier.
  if exists (select from unnest(v_rules) as rule where not rule.has_items) then
    foreach v_tier in array v_tiers loop
      v_found := recommend._tier_candidates(
        v_tier, _raised.context, v_request, _raised.model_id, _raised.fewest_people, _raised.seen, v_most
      );
      v_items := v_items || v_found.item_ids;
    end loop;
  end if;
  v_items := v_liked || array(
    select boost.item_id
    from recommend._boosts(_raised.context, v_kind, v_items) as boost
    group by boost.item_id
    having sum(boost.amount order by boost.rule) > 0
    order by boost.item_id
  );
  if v_request.only_items is not null then
    v_items := array(
      select given.item_id
      from unnest(v_items) as given (item_id)
      where given.item_id in (select known.item_id from unnest(v_request.only_items) as known (item_id))
    );
  end if;
  if v_items = '{}' then
    return;
  end if;

  -- Each in the first tier that has it.
  v_request.only_items := v_items;
  foreach v_tier in array v_tiers loop
    v_found := recommend._tier_candidates(
      v_tier, _raised.context, v_request, _raised.model_id, _raised.fewest_people, v_seen, cardinality(v_items)
    );
    v_seen := v_seen || v_found.item_ids;
    v_found_items := v_found_items || v_found.item_ids;
    v_found_scores := v_found_scores || v_found.scores;
    v_found_bases := v_found_bases || array_fill(
      case v_tier when 'lowered' then 'model' else v_tier end, array[cardinality(v_found.item_ids)]
    );
  end loop;
  v_found := recommend._boosted(_raised.context, v_kind, v_found_items, v_found_scores);
  item_ids := v_found.item_ids[:v_most];
  scores := v_found.scores[:v_most];
  bases := recommend._bases(item_ids, v_found_items, v_found_bases, '{}', '{}');
end;
$$;

comment on function recommend._raised(
  recommend.person_context, recommend.request, text[], bigint, int, bigint[]
) is $$
@behavior -*
Returns the items to whose scores rules add a positive amount, and those that the person likes but has not taken.
They are at most 1,000, the best first, each with the score and basis of its tier, and the amount added. Of rules, they
are those that are named or within the item of a rule, and those of the best 1,000 of each tier that fulfil others.
$$;
