/*
 * A definer: no role may read the weights, the lists and the signing keys. What depends on the person is an argument,
 * and no data about people is read, so that the result contains only what the models show to all callers.
 */
create or replace function recommend._rank(
  context recommend.person_context,
  request recommend.request
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  -- In the order of the list. `lowered`: items that the model lowers, which are better than none.
  v_tiers constant text[] := '{model,content,segment,popularity,newest,lowered}';
  v_most_frozen constant int := 200;
  v_kind constant text := (_rank.request).kind;
  v_top constant int := (_rank.request).top;
  v_scope constant text := recommend._page_scope(_rank.context, v_kind);
  v_page recommend.page;
  v_model_id bigint;
  v_version int;
  v_fewest_people int := 0;
  v_seen bigint[] := (_rank.context).left_out || (_rank.request).excluded;
  v_tier int := 1;
  v_most int := greatest(v_top, 50) + v_most_frozen;
  v_found bigint[];
  v_lowered bigint[];
  -- Candidates in the order of the list. The first `v_checked` were compared with the rules; `v_allowed` are positions
  -- of those that no rule leaves out.
  v_ids bigint[] := '{}';
  v_id_tiers int[] := '{}';
  v_checked int := 0;
  v_chunk int := 2 * v_top + 10;
  v_allowed int[] := '{}';
  v_rest int[];
  v_items bigint[];
  v_bases text[];
begin
  select model.model_id, model.version into v_model_id, v_version
  from recommend._deployed_model(v_kind) as model;

  -- For a list that is not that of a person: what was learned from few people would show what these people took.
  if (_rank.context).person_id is null then
    v_fewest_people := (select smallest_group from analytics.setting);
  end if;

  if (_rank.request).page is not null then
    v_page := recommend._read_page((_rank.request).page, v_scope, now());
    v_seen := v_seen || (v_page).served;
    -- The version that ranked the items is used as long as its weights are kept.
    if (v_page).model_id <> v_model_id
      and exists (select from recommend.model_part as part where part.model_id = (v_page).model_id)
    then
      select model.model_id, model.version into v_model_id, v_version
      from ml.model
      where model.model_id = (v_page).model_id;
    end if;
    select
      coalesce(array_agg(frozen.item_id order by frozen.place), '{}'),
      coalesce(array_agg(frozen.tier order by frozen.place), '{}')
    into v_ids, v_id_tiers
    from unnest((v_page).frozen, (v_page).tiers) with ordinality as frozen (item_id, tier, place)
    where frozen.item_id <> all (v_seen)
      and ((_rank.request).only_items is null or frozen.item_id = any ((_rank.request).only_items));
    v_seen := v_seen || (v_page).frozen;
  end if;

  loop
    if cardinality(v_allowed) < v_top and v_checked < cardinality(v_ids) then
      v_rest := array(
        select position
        from generate_series(v_checked + 1, least(v_checked + v_chunk, cardinality(v_ids))) as position
      );
      v_allowed := v_allowed || array(
        select candidate.place::int
        from unnest(v_rest, v_ids[v_checked + 1:v_checked + v_chunk]) as candidate (place, item_id)
        where candidate.item_id not in (
          select blocked.item_id
          from recommend._blocked(
            _rank.context, v_kind, v_ids[v_checked + 1:v_checked + v_chunk], now()
          ) as blocked
        )
        order by candidate.place
      );
      v_checked := v_checked + cardinality(v_rest);
      v_chunk := 2 * v_chunk;
    elsif v_tier <= cardinality(v_tiers)
      and cardinality(v_allowed) + cardinality(v_ids) - v_checked < v_top + v_most_frozen
    then
      if v_tiers[v_tier] = 'lowered' then
        v_found := v_lowered;
      else
        select found.item_ids into v_found
        from recommend._tier_candidates(
          v_tiers[v_tier], _rank.context, _rank.request, v_model_id, v_fewest_people, v_seen, v_most
        ) as found;
      end if;
      v_ids := v_ids || v_found;
      v_id_tiers := v_id_tiers || array_fill(v_tier, array[cardinality(v_found)]);
      v_seen := v_seen || v_found;
      if cardinality(v_found) = v_most then
        v_most := 4 * v_most;
      else
        v_tier := v_tier + 1;
      end if;
      -- Items that the model lowers are in no tier before the last one.
      if v_tier = 2 and v_lowered is null then
        select found.item_ids into v_lowered
        from recommend._tier_candidates(
          'lowered', _rank.context, _rank.request, v_model_id, v_fewest_people, v_seen, 1000000
        ) as found;
        v_seen := v_seen || v_lowered;
      end if;
    else
      exit;
    end if;
  end loop;

  v_items := array(
    select v_ids[place] from unnest(v_allowed[:v_top]) with ordinality as listed (place, n) order by listed.n
  );
  v_bases := array(
    select case v_tiers[v_id_tiers[place]] when 'lowered' then 'model' else v_tiers[v_id_tiers[place]] end
    from unnest(v_allowed[:v_top]) with ordinality as listed (place, n)
    order by listed.n
  );
  v_rest := v_allowed[v_top + 1:] || array(select generate_series(v_checked + 1, cardinality(v_ids)));
  v_rest := v_rest[:v_most_frozen];

  return query
  select *
  from recommend._explain(
    _rank.context, v_kind, v_model_id, v_version, v_fewest_people, v_items, v_bases,
    coalesce(cardinality((v_page).served), 0) + 1,
    case
      when cardinality(v_rest) > 0 and coalesce(cardinality((v_page).served), 0) + cardinality(v_items) <= 2000
        then recommend._write_page(
          row(
            coalesce(v_model_id, 0),
            coalesce((v_page).served, '{}') || v_items,
            array(select v_ids[place] from unnest(v_rest) with ordinality as kept (place, n) order by kept.n),
            array(select v_id_tiers[place] from unnest(v_rest) with ordinality as kept (place, n) order by kept.n)
          )::recommend.page,
          v_scope, now()
        )
    end
  );
end;
$$;

comment on function recommend._rank(recommend.person_context, recommend.request) is $$
@behavior -*
Returns the list that a person is recommended, best first.
Candidates are those of the deployed model, then items with the same subject, those that are popular in the segments of
the person, popular ones, the newest, and those that the model lowers: each only while the list is short. What a rule
leaves out (`recommend._blocked`) is not in the list.
Errors: CF001 for a `page` that does not continue this list.
$$;

grant execute on function recommend._rank(recommend.person_context, recommend.request)
to insights_reader, insights_learner;
