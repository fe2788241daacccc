/*
 * A definer: no role may read the weights, the lists and the signing keys. What depends on the person is an argument,
 * and no data about people is read. Learners may not execute it: a context of their own making would show them the
 * lists and the ids of other people, and weights without the floor.
 */
create or replace function recommend._rank(
  context recommend.person_context,
  request recommend.request,
  tiers text[] default '{model,content,segment,popularity,newest,lowered}',
  first_items bigint[] default '{}',
  arm recommend.arm default null
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
  v_most_served constant int := 2000;
  v_kind constant text := (_rank.request).kind;
  v_top constant int := (_rank.request).top;
  v_scope constant text := recommend._page_scope(_rank.context, v_kind);
  v_page recommend.page := row(null, '{}', '{}', '{}', null, null);
  v_arm recommend.arm := _rank.arm;
  v_tiers text[];
  v_first_rank int;
  v_model_id bigint;
  v_version int;
  -- For a list that is not that of a person: what was learned from few people would show what these people took.
  v_fewest_people constant int := case
    when (_rank.context).person_id is null then (select smallest_group from analytics.setting)
    else 0
  end;
  v_seen bigint[] := (_rank.context).left_out || (_rank.request).excluded;
  v_first bigint[] := '{}';
  v_actions constant text[] := array(
    select rule.action from recommend._rules_of(_rank.context, v_kind, now()) as rule
  );
  v_pinned bigint[] := '{}';
  v_places int[] := '{}';
  v_found record;
  v_list bigint[];
  v_rest bigint[];
  v_bases text[];
  v_diversity float8 := 0;
  v_pool_size int := 0;
  v_drawn bigint[];
  v_propensities float8[];
  v_pool bigint[];
begin
  perform common.check_count('top', v_top, 1, 1000);
  if (_rank.request).page is not null then
    v_page := recommend._read_page((_rank.request).page, v_scope, now());
    v_seen := v_seen || (v_page).served;
    v_page := recommend._without(v_page, _rank.context, v_seen, (_rank.request).only_items);
    -- A list that another variation began is not one of this variation, and counts for none.
    if (v_arm.experiment_id, v_arm.variation) is distinct from ((v_page).experiment_id, (v_page).variation) then
      v_arm := null;
    end if;
  elsif _rank.first_items <> '{}' then
    v_first := recommend._unblocked(_rank.context, null, _rank.first_items);
  end if;
  v_first_rank := cardinality((v_page).served) + 1;

  v_tiers := coalesce(v_arm.tiers, _rank.tiers);
  if v_arm.tiers is not null and 'model' <> all (v_tiers) then
    v_model_id := null;
  elsif v_arm.model_id is not null then
    select model.model_id, model.version into v_model_id, v_version
    from ml.model
    where model.model_id = v_arm.model_id;
  else
    select model.model_id, model.version into v_model_id, v_version
    from recommend._deployed_model(v_kind) as model;
  end if;
  -- The version that ranked the former pages is used as long as its weights are kept.
  if (v_page).model_id <> v_model_id
    and exists (select from recommend.model_part as part where part.model_id = (v_page).model_id)
  then
    select model.model_id, model.version into v_model_id, v_version
    from ml.model
    where model.model_id = (v_page).model_id;
  end if;

  -- Later pages continue the order of the first one.
  if (_rank.request).page is null then
    select
      coalesce((_rank.request).diversity, v_arm.diversity, setting.diversity),
      case
        when (_rank.request).is_explored and coalesce(v_arm.explored_slots, setting.explored_slots) <> '{}'
          then coalesce(v_arm.explored_pool_size, setting.explored_pool_size)
        else 0
      end
    into v_diversity, v_pool_size
    from recommend.setting;
  end if;

  if 'pin' = any (v_actions) then
    select pins.items, pins.places into v_pinned, v_places
    from recommend._allowed_pins(_rank.context, _rank.request, v_seen || v_first) as pins;
  end if;
  v_found := recommend._gather(
    _rank.context, _rank.request, v_actions, v_tiers, v_model_id, v_fewest_people,
    v_seen || v_first || v_pinned || (v_page).frozen,
    greatest(v_top + v_pool_size, case when v_diversity > 0 then least(3 * v_top, 300) else 0 end),
    (v_page).frozen, array_fill(0::float8, array[cardinality((v_page).frozen)]), (v_page).bases
  );
  v_list := case
    when v_diversity > 0 then recommend._diversified(
      _rank.context, v_found.item_ids, v_found.scores, v_found.bases, v_found.allowed, v_top, v_diversity
    )
    else recommend._chosen(v_found.item_ids, v_found.allowed)
  end;
  v_list := recommend._place_pins(v_first || v_list, v_pinned, v_places, v_first_rank, v_top);
  v_rest := v_list[v_top + 1:];
  if v_pool_size > 0 then
    select
      coalesce(array_agg(explored.item_id order by explored.place), '{}'),
      array_agg(explored.propensity order by explored.place),
      max(explored.pool)
    into v_drawn, v_propensities, v_pool
    from recommend._explore(_rank.context, v_list, v_top, v_pinned || v_first, v_arm) as explored;
    v_rest := recommend._minus(v_list, v_drawn);
    v_list := v_drawn;
  end if;
  v_rest := (v_rest || recommend._chosen(v_found.item_ids, v_found.unchecked))[:200];
  v_list := v_list[:v_top];
  v_bases := recommend._bases(v_list, v_found.item_ids, v_found.bases, v_pinned, v_first);
  if (_rank.request).page is not null then
    v_bases := recommend._current_bases(_rank.context, v_kind, v_model_id, v_fewest_people, v_list, v_bases);
  end if;

  return query
  select *
  from recommend._explain(
    _rank.context, v_kind, v_actions, v_model_id, v_version, v_fewest_people, v_list, v_bases, v_propensities, v_pool,
    v_first_rank,
    case
      when v_rest <> '{}' and v_first_rank + v_top <= v_most_served then recommend._write_page(
        row(
          coalesce(v_model_id, 0),
          (v_page).served || v_list,
          v_rest,
          recommend._bases(v_rest, v_found.item_ids, v_found.bases, v_pinned, v_first),
          v_arm.experiment_id,
          v_arm.variation
        )::recommend.page,
        v_scope,
        now()
      )
    end,
    v_arm
  );
end;
$$;

comment on function recommend._rank(
  recommend.person_context, recommend.request, text[], bigint[], recommend.arm
) is $$
@behavior -*
Returns the list that a person is recommended, best first.
Candidates are those of the tiers, in their order, each only while the list is short: those of the deployed model, of
similar content, popular in the segments of the person, popular, newest, and those that the model lowers. `first_items`
precede them, after the pinned ones. `arm` replaces the tiers, the model and the settings. Items that a rule leaves out
(`recommend._blocked`) are not in the list.
Errors: CF001 for a `page` that does not continue this list.
$$;

grant execute on function recommend._rank(
  recommend.person_context, recommend.request, text[], bigint[], recommend.arm
)
to insights_reader;
