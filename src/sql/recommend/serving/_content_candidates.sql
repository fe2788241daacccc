create or replace function recommend._content_contributions(items bigint[], strengths real[], targets bigint[])
returns table (target_id bigint, item_id bigint, contribution float8)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
as $$
begin
  return query
  with source as materialized (
    -- The vectors are read from the last item on, until there are 20.
    select used.item_id, used.strength, entry.content
    from (
      select given.item_id, given.strength, given.place
      from unnest(_content_contributions.items, _content_contributions.strengths) with ordinality
        as given (item_id, strength, place)
      where given.strength > 0
      order by given.place desc
    ) as used
    cross join lateral (
      select item_vector.content
      from recommend.item_vector
      where item_vector.item_id = used.item_id
        and item_vector.content is not null
      offset 0
    ) as entry
    order by used.place desc
    limit 20
  ),

  profile as (
    select vector_norm(sum(source.content * array_fill(source.strength, array[256])::vector)) as length
    from source
  )

  -- In units of 2^-40, so that the sum does not depend on the order.
  select
    target.item_id,
    source.item_id,
    round(1099511627776 * source.strength * -(source.content <#> target.content) / profile.length) / 1099511627776
  from recommend.item_vector as target
  cross join source
  cross join profile
  where target.item_id = any (_content_contributions.targets)
    and target.content is not null
    and profile.length > 0;
end;
$$;

comment on function recommend._content_contributions(bigint[], real[], bigint[]) is $$
@behavior -*
Returns what the last 20 items that a person likes contribute to the similarity of other items with them.
The similarity is the cosine between the vector of an item and the sum of those of the person.
$$;

-- The owner of the functions may name the settings of pgvector only after its library was loaded in the session.
do $$
begin
  perform '[1]'::vector;
end;
$$;

create or replace function recommend._content_candidates(
  kind text,
  items bigint[],
  strengths real[],
  seen bigint[],
  only_items bigint[],
  most int,
  out item_ids bigint[],
  out scores float8[]
)
language plpgsql
stable
parallel safe
set search_path from current
set jit to off
set hnsw.iterative_scan to strict_order
as $$
declare
  -- The cosine of texts without a common word is seldom greater.
  v_least_similarity constant float8 := 0.2;
  v_profile vector;
  v_near bigint[];
begin
  select sum(used.content) into v_profile
  from (
    select entry.content * array_fill(source.strength, array[256])::vector as content
    from (
      select given.item_id, given.strength, given.place
      from unnest(_content_candidates.items, _content_candidates.strengths) with ordinality
        as given (item_id, strength, place)
      where given.strength > 0
      order by given.place desc
    ) as source
    cross join lateral (
      select item_vector.content
      from recommend.item_vector
      where item_vector.item_id = source.item_id
        and item_vector.content is not null
      offset 0
    ) as entry
    order by source.place desc
    limit 20
  ) as used;
  if v_profile is null then
    return;
  end if;

  if _content_candidates.only_items is null then
    v_near := array(
      select near.item_id
      from (
        select item_vector.item_id
        from recommend.item_vector
        where item_vector.content is not null
        order by item_vector.content <=> v_profile
        limit least(_content_candidates.most + cardinality(_content_candidates.seen), 1000)
      ) as near
      join track.item using (item_id)
      where item.kind = _content_candidates.kind
        and near.item_id not in (select known.item_id from unnest(_content_candidates.seen) as known (item_id))
    );
  else
    v_near := recommend._minus(_content_candidates.only_items, _content_candidates.seen);
  end if;

  with scored as (
    select found.target_id, sum(found.contribution) as score
    from recommend._content_contributions(
      _content_candidates.items, _content_candidates.strengths, v_near
    ) as found
    group by found.target_id
    having sum(found.contribution) >= v_least_similarity
    order by sum(found.contribution) desc, found.target_id
    limit _content_candidates.most
  )

  select
    array_agg(scored.target_id order by scored.score desc, scored.target_id),
    array_agg(scored.score order by scored.score desc, scored.target_id)
  into item_ids, scores
  from scored;
end;
$$;

comment on function recommend._content_candidates(text, bigint[], real[], bigint[], bigint[], int) is $$
@behavior -*
Returns the items of a kind whose contents are most similar to those that a person likes, without those of `seen`.
They are found by an index of nearest neighbours, which may miss some of many items.
$$;
