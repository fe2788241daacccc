/*
 * A definer: weights, popularity and the signing keys are granted to nobody. It is told what somebody has to do with
 * which items, and reads nothing about people, so who calls it learns nothing but what the models say to all.
 */
create or replace function recommend._rank_items(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
security definer
set search_path from current
set client_min_messages to notice
set jit to off
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_left_out constant bigint[] := coalesce(left_out, '{}');
  v_asked_at constant text := floor(extract(epoch from now()))::text;
  v_secret recommend.secret;
  v_model ml.model;
  v_numbers int[];
  v_items bigint[];
  v_external_ids text[];
  v_titles text[];
begin
  select * into v_secret
  from recommend.secret;
  select * into v_model
  from recommend._deployed_model(_rank_items.kind);

  if exists (
    select
    from unnest(_rank_items.items) as taken (item_id)
    join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
  ) then
    with part as (
      select taken.strength, sum(item_weight.weights) as weights
      from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
      group by taken.strength
    ),

    -- Rows of one strength were summed before they are multiplied by it: mostly all are 1.
    total as (
      select sum(
        case
          when part.strength = 1 then part.weights
          else part.weights * array_fill(part.strength, array[vector_dims(part.weights)])::vector
        end
      ) as scores
      from part
    ),

    scored as (
      select entry.item_no, entry.score
      from total
      cross join lateral unnest(total.scores::real[]) with ordinality as entry (score, item_no)
      order by entry.score desc, entry.item_no
    ),

    -- In order, until there are enough: items are looked up for a few of the scores only.
    best as (
      select scored.item_no, item.item_id, item.external_id, item.title
      from scored
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = scored.item_no
      join track.item on item.item_id = item_weight.item_id
      where item.kind = _rank_items.kind
        and item.item_id <> all (v_left_out)
        and (item.available_from is null or item.available_from <= now())
        and (item.available_until is null or item.available_until > now())
      order by scored.score desc, scored.item_no
      limit _rank_items.top
    )

    select array_agg(best.item_no), array_agg(best.item_id), array_agg(best.external_id), array_agg(best.title)
    into v_numbers, v_items, v_external_ids, v_titles
    from best;

    return query
    /*
     * What each item adds to each of the best. B[i,j] = -P[i,j] / P[j,j] and P is symmetric, so B[i,j] = B[j,i] P[i,i] / P[j,j]:
     * the rows of the few best tell it as well as those of the many items of the person.
     */
    with known as (
      select item_weight.item_id, item_weight.item_no, item_weight.diagonal, taken.strength
      from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
      where taken.strength > 0
    ),

    best as materialized (
      select found.n, item_weight.diagonal, item_weight.weights::real[] as weights
      from unnest(v_numbers) with ordinality as found (item_no, n)
      join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_no = found.item_no
    ),

    contribution as materialized (
      select
        best.n,
        known.item_id as because_id,
        known.strength::float8 * best.weights[known.item_no] * known.diagonal / best.diagonal as contribution
      from best
      cross join known
    ),

    placed as (
      select
        contribution.*,
        row_number() over (
          partition by contribution.n
          order by abs(contribution.contribution) desc, contribution.because_id
        ) as place
      from contribution
    ),

    explained as (
      select
        placed.n,
        -- To the last bit what the reasons add up to in the order in which they are given.
        sum(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
          + coalesce(sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons), 0) as score,
        array_agg(placed.because_id order by placed.place) filter (where placed.place <= v_most_reasons) as because_ids,
        array_agg(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons) as contributions,
        count(*) - v_most_reasons as other_count,
        sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons) as other_contribution
      from placed
      group by placed.n
    ),

    ranked as (
      select
        row_number() over (order by explained.score desc, explained.n) as rank,
        v_items[explained.n] as item_id,
        explained.*
      from explained
    )

    select
      ranked.rank::int,
      ranked.item_id,
      v_external_ids[ranked.n],
      v_titles[ranked.n],
      ranked.score,
      array(
        select row('item', named.external_id, named.title, because.contribution)::recommend.reason
        from unnest(ranked.because_ids, ranked.contributions) with ordinality as because (item_id, contribution, place)
        cross join lateral (
          -- One look-up each: the planner would rather read all items.
          select item.external_id, item.title
          from track.item
          where item.item_id = because.item_id
          offset 0
        ) as named
        order by because.place
      ) || case
        when ranked.other_count > 0
          then array[row('others', null, format('%s more', ranked.other_count), ranked.other_contribution)::recommend.reason]
        else '{}'
      end,
      'model',
      v_model.version,
      recommend._sign(concat_ws('.', v_model.model_id, ranked.item_id, ranked.rank, 1, v_asked_at), v_secret.inner_key, v_secret.outer_key)
    from ranked
    order by ranked.rank;
    return;
  end if;

  -- Somebody of whom nothing is known: by the number of people, recent use counting more.
  return query
  with counted as (
    select popular.item_id, popular.popularity
    from recommend._popularity(_rank_items.kind) as popular
  ),

  ranked as (
    select
      row_number() over (order by counted.popularity desc, item.item_id) as rank,
      item.item_id,
      item.external_id,
      item.title,
      counted.popularity
    from counted
    join track.item using (item_id)
    where item.item_id <> all (v_left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by counted.popularity desc, item.item_id
    limit _rank_items.top
  )

  select
    ranked.rank::int,
    ranked.item_id,
    ranked.external_id,
    ranked.title,
    ranked.popularity,
    array[row('popularity', null, 'Popular with everybody', ranked.popularity)::recommend.reason],
    'popularity',
    null::int,
    recommend._sign(concat_ws('.', 0, ranked.item_id, ranked.rank, 1, v_asked_at), v_secret.inner_key, v_secret.outer_key)
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_items(text, bigint[], real[], bigint[], int) is $$
@behavior -*
Returns the best items of a kind for a person with the given items, best first.
Items are ranked by the deployed model, or by popularity when the model contains none of the given items. Items in
`left_out` and items that are not available now are excluded.
$$;

grant execute on function recommend._rank_items(text, bigint[], real[], bigint[], int) to insights_reader, insights_learner;
