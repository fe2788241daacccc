create or replace function recommend._listed_candidates(
  kind text,
  lists text[],
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- The order is that of the index: a catalogue is never read as a whole.
set enable_seqscan to off
set enable_bitmapscan to off
set enable_sort to off
as $$
begin
  with listed as (
    select entry.item_id, max(entry.score) as score
    from unnest(_listed_candidates.lists) as list (name)
    cross join lateral (
      select ranked_list.item_id, ranked_list.score
      from recommend.ranked_list
      where ranked_list.kind = _listed_candidates.kind
        and ranked_list.list = list.name
        -- "in" with a subquery hashes the array.
        and ranked_list.item_id not in (
          select known.item_id from unnest(_listed_candidates.seen) as known (item_id)
        )
        and (
          _listed_candidates.only_items is null
          or ranked_list.item_id in (
            select known.item_id from unnest(_listed_candidates.only_items) as known (item_id)
          )
        )
      order by ranked_list.score desc, ranked_list.item_id
      limit _listed_candidates.most
    ) as entry
    group by entry.item_id
    order by max(entry.score) desc, entry.item_id
    limit _listed_candidates.most
  )

  select
    array_agg(listed.item_id order by listed.score desc, listed.item_id),
    array_agg(listed.score order by listed.score desc, listed.item_id)
  into item_ids, scores
  from listed;
end;
$$;

comment on function recommend._listed_candidates(text, text[], bigint[], bigint[], int) is $$
@behavior -*
Returns the best items of ranked lists, without those of `seen`. An item of several lists has the highest of its scores.
$$;

create or replace function recommend._newest_candidates(
  kind text,
  seen bigint[],
  only_items bigint[],
  available_at timestamptz,
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set enable_bitmapscan to off
set enable_sort to off
as $$
begin
  if _newest_candidates.only_items is null then
    select array_agg(newest.item_id), array_agg(0::float8)
    into item_ids, scores
    from (
      select item.item_id
      from track.item
      where item.kind = _newest_candidates.kind
        -- Any client may name a page by a path. Titles and containers are from senders who may describe items.
        and (item.kind <> 'page' or item.title is not null or item.parent_item_id is not null)
        and (
          _newest_candidates.available_at is null
          or (
            (item.available_until is null or item.available_until > _newest_candidates.available_at)
            and (item.available_from is null or item.available_from <= _newest_candidates.available_at)
          )
        )
        -- "in" with a subquery hashes the array.
        and item.item_id not in (select known.item_id from unnest(_newest_candidates.seen) as known (item_id))
      order by item.created_at desc, item.item_id desc
      limit _newest_candidates.most
    ) as newest;
  else
    -- "offset 0" and "materialized": one index lookup per given item, instead of the index in its order.
    with given as materialized (
      select item.*
      from (
        select distinct known.item_id
        from unnest(_newest_candidates.only_items) as known (item_id)
        where known.item_id not in (select other.item_id from unnest(_newest_candidates.seen) as other (item_id))
      ) as wanted
      cross join lateral (
        select known.item_id, known.kind, known.title, known.parent_item_id, known.created_at
        from track.item as known
        where known.item_id = wanted.item_id
        offset 0
      ) as item
    )

    select array_agg(newest.item_id), array_agg(0::float8)
    into item_ids, scores
    from (
      select given.item_id
      from given
      where given.kind = _newest_candidates.kind
        and (given.kind <> 'page' or given.title is not null or given.parent_item_id is not null)
      order by given.created_at desc, given.item_id desc
      limit _newest_candidates.most
    ) as newest;
  end if;
end;
$$;

comment on function recommend._newest_candidates(text, bigint[], bigint[], timestamptz, int) is $$
@behavior -*
Returns the items of a kind that were first seen most recently, without those of `seen`.
`available_at` leaves out items whose own dates say that they are not available at that time: others would be compared
with the rules one by one. Null: dates do not matter.
$$;

create or replace function recommend._offered_items(context recommend.person_context, kind text)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
as $$
declare
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_offered_items.context, _offered_items.kind, now()) as known
    where known.action = 'include'
  );
begin
  if v_rules is null
    or exists (
      select from unnest(v_rules) as rule where not rule.has_items and rule.within_item_id is null
    )
  then
    return null;
  end if;

  return array(
    select coalesce(named.merged_item_id, named.item_id)
    from unnest(v_rules) as rule
    join recommend.rule_item as listed on listed.name = rule.name
    join track.item as named on named.item_id = listed.item_id
    where rule.has_items

    union

    select ancestor.item_id
    from unnest(v_rules) as rule
    join track.item as root on root.item_id = rule.within_item_id
    -- A subtree of an item that was merged is that of its target.
    cross join lateral (
      select known.item_id
      from track.item as known
      where known.item_id = coalesce(root.merged_item_id, root.item_id)

      union all

      select known.item_id
      from track.item as known
      where known.merged_item_id = coalesce(root.merged_item_id, root.item_id)
    ) as named
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = named.item_id
    where not rule.has_items
  );
end;
$$;

comment on function recommend._offered_items(recommend.person_context, text) is $$
@behavior -*
Returns the items to which the rules `include` limit a list, and perhaps more; null when no index finds them.
$$;

create or replace function recommend._tier_candidates(
  tier text,
  context recommend.person_context,
  request recommend.request,
  model_id bigint,
  fewest_people int,
  seen bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  case _tier_candidates.tier
    when 'model', 'lowered' then
      if _tier_candidates.model_id is not null and cardinality((_tier_candidates.context).items) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._model_candidates(
          _tier_candidates.model_id, (_tier_candidates.context).items, (_tier_candidates.context).strengths,
          _tier_candidates.fewest_people, _tier_candidates.tier = 'lowered', _tier_candidates.seen,
          (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'content' then
      if cardinality((_tier_candidates.context).items) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._content_candidates(
          (_tier_candidates.request).kind, (_tier_candidates.context).items, (_tier_candidates.context).strengths,
          _tier_candidates.seen, (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'segment' then
      if cardinality((_tier_candidates.context).person_sets) > 0 then
        select found.item_ids, found.scores into item_ids, scores
        from recommend._listed_candidates(
          (_tier_candidates.request).kind, (_tier_candidates.context).person_sets, _tier_candidates.seen,
          (_tier_candidates.request).only_items, _tier_candidates.most
        ) as found;
      end if;
    when 'popularity', 'trending' then
      select found.item_ids, found.scores into item_ids, scores
      from recommend._listed_candidates(
        (_tier_candidates.request).kind,
        case _tier_candidates.tier when 'trending' then '{trending}' else '{popular}' end::text[],
        _tier_candidates.seen,
        (_tier_candidates.request).only_items, _tier_candidates.most
      ) as found;
    when 'newest' then
      select found.item_ids, found.scores into item_ids, scores
      from recommend._newest_candidates(
        (_tier_candidates.request).kind, _tier_candidates.seen,
        coalesce(
          (_tier_candidates.request).only_items,
          recommend._offered_items(_tier_candidates.context, (_tier_candidates.request).kind)
        ),
        case
          when exists (
            select
            from recommend._rules_of(_tier_candidates.context, (_tier_candidates.request).kind, now()) as rule
            where rule.action = 'availability'
          ) then now()
        end,
        _tier_candidates.most
      ) as found;
    else
      null;
  end case;
  item_ids := coalesce(item_ids, '{}');
  scores := coalesce(scores, '{}');
end;
$$;

comment on function recommend._tier_candidates(
  text, recommend.person_context, recommend.request, bigint, int, bigint[], int
) is $$
@behavior -*
Returns the best items of a tier of a list, with their scores before any boost, without those of `seen`.
$$;
