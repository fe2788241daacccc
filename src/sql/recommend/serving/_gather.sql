/*
 * Candidates are fetched tier by tier, and compared with the rules in pieces of their order, until there are enough:
 * neither the catalogue nor the whole list of a tier is compared.
 */
create or replace function recommend._gather(
  context recommend.person_context,
  request recommend.request,
  actions text[],
  tiers text[],
  model_id bigint,
  fewest_people int,
  seen bigint[],
  wanted int,
  inout item_ids bigint[],
  inout scores float8[],
  inout bases text[],
  out allowed int[],
  out unchecked int[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_frozen constant int := 200;
  -- Of the newest items: their comparison with the default rules takes about 0.1 s.
  v_most_newest constant int := 20000;
  v_newest int := 0;
  -- At once, so that the comparison stays in work_mem.
  v_most_compared constant int := 5000;
  v_kind constant text := (_gather.request).kind;
  v_has_boosts constant boolean := 'boost' = any (_gather.actions);
  -- A liked item that may be in the list: see recommend._raised.
  v_has_raised constant boolean := v_has_boosts or exists (
    select
    from unnest((_gather.context).items, (_gather.context).strengths) as used (item_id, strength)
    where used.strength >= 1
      and used.item_id not in (select known.item_id from unnest(_gather.seen) as known (item_id))
  );
  v_most int := case when v_has_boosts then greatest(wanted + v_most_frozen, 1000) else wanted + v_most_frozen end;
  v_seen bigint[] := seen;
  v_tiers constant text[] := array_remove(tiers, 'lowered') || '{lowered}'::text[];
  v_given constant int := cardinality(item_ids);
  -- Raised, for the first tier that has items; those with a negative score are for the last one.
  v_waiting record;
  v_bases text[];
  v_is_full boolean;
  v_is_merged boolean;
  v_tier int := 1;
  v_name text;
  v_found record;
  v_lowered record;
  -- The first `v_checked` candidates were compared with the rules.
  v_checked int := 0;
  v_last int;
begin
  allowed := '{}';
  if v_has_raised then
    v_waiting := recommend._raised(context, request, tiers, model_id, fewest_people, v_seen);
    v_seen := v_seen || v_waiting.item_ids;
  end if;
  loop
    if cardinality(allowed) < wanted and v_checked < cardinality(item_ids) then
      v_last := least(2 * v_checked + 2 * wanted, v_checked + v_most_compared, cardinality(item_ids));
      allowed := allowed || array(
        select v_checked + candidate.place::int
        from unnest(item_ids[v_checked + 1:v_last]) with ordinality as candidate (item_id, place)
        where candidate.item_id not in (
          select blocked.item_id
          from recommend._blocked(_gather.context, v_kind, _gather.item_ids[v_checked + 1:v_last], now()) as blocked
        )
        order by candidate.place
      );
      v_checked := v_last;
    elsif v_tier <= cardinality(v_tiers)
      and cardinality(allowed) + cardinality(item_ids) - v_checked < wanted + v_most_frozen
    then
      v_name := v_tiers[v_tier];
      -- Items that the model lowers are in no tier before their own.
      if v_name <> 'model' and v_lowered is null then
        v_lowered := recommend._tier_candidates('lowered', context, request, model_id, fewest_people, v_seen, 1000000);
        v_seen := v_seen || v_lowered.item_ids;
      end if;
      if v_name = 'lowered' then
        v_found := v_lowered;
      else
        if v_name = 'newest' then
          v_most := least(v_most, v_most_newest - v_newest);
        end if;
        v_found := recommend._tier_candidates(v_name, context, request, model_id, fewest_people, v_seen, v_most);
        v_seen := v_seen || v_found.item_ids;
      end if;
      if v_name = 'newest' then
        v_newest := v_newest + cardinality(v_found.item_ids);
      end if;
      v_is_full := cardinality(v_found.item_ids) = v_most and v_name <> 'lowered' and v_newest < v_most_newest;
      if v_is_full then
        v_most := 4 * v_most;
      else
        v_tier := v_tier + 1;
      end if;
      v_bases := array_fill(
        case v_name when 'lowered' then 'model' else v_name end, array[cardinality(v_found.item_ids)]
      );
      if v_has_raised then
        v_found := recommend._boosted(context, v_kind, v_found.item_ids, v_found.scores);
        v_is_merged := v_found.item_ids <> '{}' or cardinality(item_ids) > v_given or v_name = any (v_waiting.bases);
        with candidate as (
          select
            entry.*,
            case
              when v_name = 'lowered' then true
              when entry.score < 0 then false
              when entry.part = 1 then true
              -- The rest of the tier follows.
              when v_is_full then entry.score >= v_found.scores[cardinality(v_found.scores)]
              else v_is_merged
            end as is_next
          from (
            select 0 as part, waiting.*
            from unnest(v_waiting.item_ids, v_waiting.scores, v_waiting.bases) with ordinality
              as waiting (item_id, score, basis, place)

            union all

            select 1, found.*
            from unnest(v_found.item_ids, v_found.scores, v_bases) with ordinality
              as found (item_id, score, basis, place)
          ) as entry
        )

        select
          item_ids || array_agg(candidate.item_id order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          scores || array_agg(candidate.score order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          bases || array_agg(candidate.basis order by candidate.score desc, candidate.part, candidate.place)
            filter (where candidate.is_next),
          coalesce(
            array_agg(candidate.item_id order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.score order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          ),
          coalesce(
            array_agg(candidate.basis order by candidate.part, candidate.place) filter (where not candidate.is_next),
            '{}'
          )
        into item_ids, scores, bases, v_waiting.item_ids, v_waiting.scores, v_waiting.bases
        from candidate;
      else
        item_ids := item_ids || v_found.item_ids;
        scores := scores || v_found.scores;
        bases := bases || v_bases;
      end if;
    else
      exit;
    end if;
  end loop;
  unchecked := array(select generate_series(v_checked + 1, cardinality(item_ids)));
end;
$$;

comment on function recommend._gather(
  recommend.person_context, recommend.request, text[], text[], bigint, int, bigint[], int, bigint[], float8[], text[]
) is $$
@behavior -*
Returns the candidates of a list in its order, after those that are given.
`allowed` are the positions of those that no rule leaves out, at least `wanted` if there are enough; `unchecked` of
those that were not compared with the rules, which are there to freeze the order. `actions` are those of the rules that
apply. The tiers are used in their order, each only while there are too few candidates. Items that rules raise, and
liked ones, compete in the first tier that has items; those whose score rules make negative come last. Of the newest
items that are available by their own dates, at most 20,000 are compared with the rules.
$$;
