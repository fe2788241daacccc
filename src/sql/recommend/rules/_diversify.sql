/* The candidates are compared once; each step then changes the penalties by the item that was chosen last. */
create or replace function recommend._choose_unlike(items bigint[], scores float8[], top int, diversity float8)
returns int[]
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_count constant int := cardinality(_choose_unlike.items);
  v_similarities float8[];
  v_penalties float8[] := array_fill(0::float8, array[v_count]);
  v_chosen int[] := '{}';
  v_is_chosen boolean[] := array_fill(false, array[v_count]);
  v_best int;
  v_best_value float8;
  v_value float8;
begin
  with known as materialized (
    select given.place, topics.topic, item_vector.content
    from unnest(_choose_unlike.items) with ordinality as given (item_id, place)
    left join recommend._topics(_choose_unlike.items) as topics using (item_id)
    left join recommend.item_vector using (item_id)
  ),

  -- Before the sort, so that it does not carry the vectors.
  pair as materialized (
    select
      known.place,
      other.place as other_place,
      case when known.topic = other.topic then 0.5 else 0 end
        + 0.5 * greatest(coalesce(-(known.content <#> other.content), 0), 0) as similarity
    from known
    cross join known as other
  )

  select array_agg(pair.similarity order by pair.place, pair.other_place) into v_similarities
  from pair;

  for v_step in 1..least(_choose_unlike.top, v_count) loop
    v_best := null;
    for v_place in 1..v_count loop
      if not v_is_chosen[v_place] then
        v_value := (1 - _choose_unlike.diversity) * _choose_unlike.scores[v_place]
          - _choose_unlike.diversity * v_penalties[v_place];
        if v_best is null or v_value > v_best_value then
          v_best := v_place;
          v_best_value := v_value;
        end if;
      end if;
    end loop;
    v_chosen := v_chosen || v_best;
    v_is_chosen[v_best] := true;
    for v_place in 1..v_count loop
      v_penalties[v_place] := greatest(v_penalties[v_place], v_similarities[(v_best - 1) * v_count + v_place]);
    end loop;
  end loop;
  return v_chosen;
end;
$$;

comment on function recommend._choose_unlike(bigint[], float8[], int, float8) is $$
@behavior -*
Returns the positions of `top` of the items by maximal marginal relevance.
Each has the highest (1 − diversity) score − diversity · (similarity to the most similar item before it).
The similarity is 1/2 for the same topic, plus half of the cosine of the contents (`recommend.item_vector`).
Source: Carbonell, Goldstein, The use of MMR, diversity-based reranking for reordering documents and producing
summaries, SIGIR 1998.
$$;

create or replace function recommend._choose_calibrated(
  context recommend.person_context,
  items bigint[],
  scores float8[],
  top int,
  diversity float8
)
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smoothing constant float8 := 0.01;
  v_count constant int := cardinality(_choose_calibrated.items);
  -- Topics of the person with their shares, and the number of chosen items of each.
  v_topics text[];
  v_shares float8[];
  v_chosen_counts int[];
  -- Position of the topic of each candidate in `v_topics`; 0 for another topic or none.
  v_candidate_topics int[];
  v_chosen int[] := '{}';
  v_is_chosen boolean[] := array_fill(false, array[v_count]);
  -- Divergence without a further item of a topic of the person, and its change by one of each topic.
  v_divergence float8;
  v_changes float8[];
  v_best int;
  v_best_value float8;
  v_value float8;
begin
  select array_agg(liked.topic order by liked.topic), array_agg(liked.share order by liked.topic)
  into v_topics, v_shares
  from (
    select known.topic, sum(used.strength::float8) / sum(sum(used.strength::float8)) over () as share
    from unnest((_choose_calibrated.context).items, (_choose_calibrated.context).strengths)
      as used (item_id, strength)
    join recommend._topics((_choose_calibrated.context).items) as known using (item_id)
    where used.strength > 0
    group by known.topic
  ) as liked;
  if v_topics is null then
    return array(select generate_series(1, least(_choose_calibrated.top, v_count)));
  end if;

  v_candidate_topics := array(
    select coalesce(array_position(v_topics, known.topic), 0)
    from unnest(_choose_calibrated.items) with ordinality as given (item_id, place)
    left join recommend._topics(_choose_calibrated.items) as known using (item_id)
    order by given.place
  );
  v_chosen_counts := array_fill(0, array[cardinality(v_topics)]);

  for v_step in 1..least(_choose_calibrated.top, v_count) loop
    -- The Kullback-Leibler divergence of the topics of the list from those of the person.
    v_divergence := 0;
    v_changes := '{}';
    for v_topic in 1..cardinality(v_topics) loop
      v_value := v_shares[v_topic] * ln(
        v_shares[v_topic]
          / ((1 - v_smoothing) * v_chosen_counts[v_topic] / v_step + v_smoothing * v_shares[v_topic])
      );
      v_divergence := v_divergence + v_value;
      v_changes := v_changes || v_shares[v_topic] * ln(
        v_shares[v_topic]
          / ((1 - v_smoothing) * (v_chosen_counts[v_topic] + 1) / v_step + v_smoothing * v_shares[v_topic])
      ) - v_value;
    end loop;

    v_best := null;
    for v_place in 1..v_count loop
      if not v_is_chosen[v_place] then
        v_value := (1 - _choose_calibrated.diversity) * _choose_calibrated.scores[v_place]
          - _choose_calibrated.diversity * (v_divergence + coalesce(v_changes[v_candidate_topics[v_place]], 0));
        if v_best is null or v_value > v_best_value then
          v_best := v_place;
          v_best_value := v_value;
        end if;
      end if;
    end loop;
    v_chosen := v_chosen || v_best;
    v_is_chosen[v_best] := true;
    if v_candidate_topics[v_best] > 0 then
      v_chosen_counts[v_candidate_topics[v_best]] := v_chosen_counts[v_candidate_topics[v_best]] + 1;
    end if;
  end loop;
  return v_chosen;
end;
$$;

comment on function recommend._choose_calibrated(recommend.person_context, bigint[], float8[], int, float8) is $$
@behavior -*
Returns the positions of `top` of the items by calibration to the topics of the person.
Each has the highest (1 − diversity) score − diversity · divergence. The divergence is that of the topics of the list
with this item from the topics of the items that the person likes.
Items without a topic count in the length of the list. Without topics of the person, the order is that of the items.
Source: Steck, Calibrated recommendations, RecSys 2018, with α = 0.01.
$$;

create or replace function recommend._diversify(
  context recommend.person_context,
  items bigint[],
  scores float8[],
  top int,
  diversity float8
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- The time grows with the number of places times the number of candidates.
  v_places constant int := least(_diversify.top, 100);
  v_count constant int := least(cardinality(_diversify.items), 300);
  v_lowest float8;
  v_range float8;
  v_scores float8[];
  v_chosen int[];
begin
  if coalesce(_diversify.diversity, 0) = 0 or v_count < 3 then
    return _diversify.items;
  end if;

  -- Scores of models have any unit: the candidates get 0 to 1.
  select min(entry.score), nullif(max(entry.score) - min(entry.score), 0) into v_lowest, v_range
  from unnest(_diversify.scores[:v_count]) as entry (score);
  v_scores := array(
    select coalesce((entry.score - v_lowest) / v_range, 0)
    from unnest(_diversify.scores[:v_count]) with ordinality as entry (score, place)
    order by entry.place
  );

  v_chosen := case (select setting.diversity_method from recommend.setting)
    when 'similarity' then recommend._choose_unlike(
      _diversify.items[:v_count], v_scores, v_places, _diversify.diversity
    )
    else recommend._choose_calibrated(
      _diversify.context, _diversify.items[:v_count], v_scores, v_places, _diversify.diversity
    )
  end;
  return array(
    select entry.item_id
    from unnest(_diversify.items) with ordinality as entry (item_id, place)
    order by array_position(v_chosen, entry.place::int), entry.place
  );
end;
$$;

comment on function recommend._diversify(recommend.person_context, bigint[], float8[], int, float8) is $$
@behavior -*
Returns the items in an order in which the first `top` are diverse, by `recommend.setting.diversity_method`.
They are given best first, with their scores; the items after the first `top` follow in their order.
`diversity` is the weight against the scores: 0 or null leaves the order, 1 does not use the scores, which are scaled to
0 to 1. The first 300 items are candidates for the first 100 places.
$$;
