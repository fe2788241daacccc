create or replace function recommend._held_out_ranks(
  items bigint[],
  weights vector[]
)
returns table (is_tuning boolean, rank float8)
language plpgsql
volatile
set search_path from current
set jit to off
as $$
begin
  return query
  with model as materialized (
    select entry.item_id, entry.item_no, (_held_out_ranks.weights)[entry.item_no] as weights
    from unnest(_held_out_ranks.items) with ordinality as entry (item_id, item_no)
  ),

  held as (
    select training.person_id, training.is_tuning, model.item_no
    from pg_temp.training
    left join model using (item_id)
    where training.is_held_out
  ),

  history as materialized (
    select training.person_id, model.item_no, training.strength
    from pg_temp.training
    join model using (item_id)
    where not training.is_held_out
      and training.person_id in (select held.person_id from held)
  ),

  scored as materialized (
    select
      history.person_id,
      array_agg(history.item_no) as known,
      sum(
        case
          when history.strength = 1 then model.weights
          else model.weights * array_fill(history.strength, array[vector_dims(model.weights)])::vector
        end
      )::real[] as scores
    from history
    join model using (item_no)
    where _held_out_ranks.weights is not null
    group by history.person_id

    union all

    -- Without weights: by popularity, the same for everyone.
    select own.person_id, own.known, popular.scores
    from (
      select history.person_id, array_agg(history.item_no) as known
      from history
      group by history.person_id
    ) as own
    cross join (
      select array_agg(counted.people order by counted.item_no) as scores
      from (
        select model.item_no, count(training.person_id)::real as people
        from model
        left join pg_temp.training on training.item_id = model.item_id and not training.is_held_out
        group by model.item_no
      ) as counted
    ) as popular
    where _held_out_ranks.weights is null
  )

  -- 1 + the number of items with a higher score + half of the ties, among all items that the person does not have.
  select
    held.is_tuning,
    case
      when held.item_no is not null and scored.person_id is not null then (
        select
          1 + coalesce(sum(entry.factor) filter (where entry.score > scored.scores[held.item_no]), 0)
          + coalesce(sum(entry.factor) filter (where entry.score = scored.scores[held.item_no]) - 1, 0) / 2.0::float8
        from (
          select 1 as factor, score from unnest(scored.scores) as score
          union all
          select -1, scored.scores[item_no] from unnest(scored.known) as item_no
        ) as entry
      )
    end
  from held
  left join scored using (person_id);
end;
$$;

comment on function recommend._held_out_ranks(bigint[], vector[]) is $$
@behavior -*
Returns the rank of the held-out item of each test person among all items that the person had not taken.
Null when the model does not contain the item, or the person has no other item. `weights` null: ranks by popularity.
$$;
