create or replace function recommend._best_items(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int,
  model_id bigint,
  out item_numbers int[],
  out item_ids bigint[],
  out external_ids text[],
  out titles text[]
)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
begin
  with part as (
    select taken.strength, sum(item_weight.weights) as weights
    from unnest(_best_items.items, _best_items.strengths) as taken (item_id, strength)
    join recommend.item_weight
      on item_weight.model_id = _best_items.model_id
      and item_weight.item_id = taken.item_id
    group by taken.strength
  ),

  -- The rows are summed per strength before the multiplication, because most strengths are 1.
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

  -- Reads the scores in order, and looks up items only until there are enough.
  best as (
    select scored.item_no, item.item_id, item.external_id, item.title
    from scored
    join recommend.item_weight
      on item_weight.model_id = _best_items.model_id
      and item_weight.item_no = scored.item_no
    join track.item on item.item_id = item_weight.item_id
    where item.kind = _best_items.kind
      and item.item_id <> all (_best_items.left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by scored.score desc, scored.item_no
    limit _best_items.top
  )

  select array_agg(best.item_no), array_agg(best.item_id), array_agg(best.external_id), array_agg(best.title)
  into item_numbers, item_ids, external_ids, titles
  from best;
end;
$$;

comment on function recommend._best_items(text, bigint[], real[], bigint[], int, bigint) is $$
@behavior -*
Returns the items of a kind with the highest scores of an EASE model, for a person with the given items.
The arrays have one element per item, best first.
$$;

create or replace function recommend._rank_by_model(
  kind text,
  items bigint[],
  strengths real[],
  left_out bigint[],
  top int,
  model_id bigint,
  version int,
  secret recommend.secret,
  asked_at text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_numbers int[];
  v_items bigint[];
  v_external_ids text[];
  v_titles text[];
begin
  select best.item_numbers, best.item_ids, best.external_ids, best.titles
  into v_numbers, v_items, v_external_ids, v_titles
  from recommend._best_items(
    _rank_by_model.kind, _rank_by_model.items, _rank_by_model.strengths, _rank_by_model.left_out, _rank_by_model.top,
    _rank_by_model.model_id
  ) as best;

  return query
  /*
   * The contribution of each known item to each of the best items. B[i,j] = -P[i,j] / P[j,j] and P is symmetric, so
   * B[i,j] = B[j,i] P[i,i] / P[j,j]: only the rows of the few best items are read, not those of all known items.
   */
  with known as (
    select item_weight.item_id, item_weight.item_no, item_weight.diagonal, taken.strength
    from unnest(_rank_by_model.items, _rank_by_model.strengths) as taken (item_id, strength)
    join recommend.item_weight
      on item_weight.model_id = _rank_by_model.model_id
      and item_weight.item_id = taken.item_id
    where taken.strength > 0
  ),

  best as materialized (
    select found.n, item_weight.diagonal, item_weight.weights::real[] as weights
    from unnest(v_numbers) with ordinality as found (item_no, n)
    join recommend.item_weight
      on item_weight.model_id = _rank_by_model.model_id
      and item_weight.item_no = found.item_no
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
      -- Summed in the order of the reasons, so that the score is exactly the sum of the returned contributions.
      sum(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
        + coalesce(sum(placed.contribution order by placed.place) filter (where placed.place > v_most_reasons), 0)
        as score,
      array_agg(placed.because_id order by placed.place) filter (where placed.place <= v_most_reasons) as because_ids,
      array_agg(placed.contribution order by placed.place) filter (where placed.place <= v_most_reasons)
        as contributions,
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
        -- "offset 0" makes the planner do one index lookup per item instead of reading all items.
        select item.external_id, item.title
        from track.item
        where item.item_id = because.item_id
        offset 0
      ) as named
      order by because.place
    ) || case
      when ranked.other_count > 0
        then array[
          row('others', null, format('%s more', ranked.other_count), ranked.other_contribution)::recommend.reason
        ]
      else '{}'
    end,
    'model',
    _rank_by_model.version,
    recommend._sign(
      concat_ws('.', _rank_by_model.model_id, ranked.item_id, ranked.rank, 1, _rank_by_model.asked_at),
      (_rank_by_model.secret).inner_key,
      (_rank_by_model.secret).outer_key
    ),
    null::float8,
    null::text
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_by_model(
  text, bigint[], real[], bigint[], int, bigint, int, recommend.secret, text
) is $$
@behavior -*
Returns the best items of a kind by an EASE model, for a person with the given items, with reasons.
$$;

create or replace function recommend._rank_by_popularity(
  kind text,
  left_out bigint[],
  top int,
  secret recommend.secret,
  asked_at text
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  with counted as (
    select popular.item_id, popular.popularity
    from recommend._popularity(_rank_by_popularity.kind) as popular
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
    where item.item_id <> all (_rank_by_popularity.left_out)
      and (item.available_from is null or item.available_from <= now())
      and (item.available_until is null or item.available_until > now())
    order by counted.popularity desc, item.item_id
    limit _rank_by_popularity.top
  )

  select
    ranked.rank::int,
    ranked.item_id,
    ranked.external_id,
    ranked.title,
    ranked.popularity,
    array[row('popularity', null, 'Popular with all learners', ranked.popularity)::recommend.reason],
    'popularity',
    null::int,
    recommend._sign(
      concat_ws('.', 0, ranked.item_id, ranked.rank, 1, _rank_by_popularity.asked_at),
      (_rank_by_popularity.secret).inner_key,
      (_rank_by_popularity.secret).outer_key
    ),
    null::float8,
    null::text
  from ranked
  order by ranked.rank;
end;
$$;

comment on function recommend._rank_by_popularity(text, bigint[], int, recommend.secret, text) is $$
@behavior -*
Returns the most popular items of a kind, for a person without known items.
$$;

/*
 * A definer: no role may read the weights, the popularity and the signing keys. The history of the person is an
 * argument, and no data about people is read, so that the result contains only what the models show to all callers.
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
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_left_out constant bigint[] := coalesce(_rank_items.left_out, '{}');
  v_asked_at constant text := floor(extract(epoch from now()))::text;
  v_secret recommend.secret;
  v_model ml.model;
begin
  select * into v_secret
  from recommend.secret;
  select * into v_model
  from recommend._deployed_model(_rank_items.kind);

  if exists (
    select
    from unnest(_rank_items.items, _rank_items.strengths) as taken (item_id, strength)
    join recommend.item_weight on item_weight.model_id = v_model.model_id and item_weight.item_id = taken.item_id
    where taken.strength > 0
  ) then
    return query
    select *
    from recommend._rank_by_model(
      _rank_items.kind, _rank_items.items, _rank_items.strengths, v_left_out, _rank_items.top,
      v_model.model_id, v_model.version, v_secret, v_asked_at
    );
  else
    return query
    select *
    from recommend._rank_by_popularity(_rank_items.kind, v_left_out, _rank_items.top, v_secret, v_asked_at);
  end if;
end;
$$;

comment on function recommend._rank_items(text, bigint[], real[], bigint[], int) is $$
@behavior -*
Returns the best items of a kind for a person with the given items, best first.
Items are ranked by the deployed model, or by popularity when the model contains none of the given items with a strength
above 0. Items in `left_out` and items that are not available now are excluded.
$$;

grant execute on function recommend._rank_items(text, bigint[], real[], bigint[], int)
to insights_reader, insights_learner;
