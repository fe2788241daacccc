create or replace function recommend._test_people(evaluation recommend.evaluation, model_no int, people bigint[])
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
-- The planner does not know how many rows come from an array, and would compare all with all.
set enable_nestloop to off
set enable_mergejoin to off
set jit to off
as $$
declare
  v_id constant bigint := evaluation.evaluation_id;
  v_most constant int := (select max(k) from unnest(evaluation.k) as k);
  -- Pairs of items of a list are counted up to this length.
  v_most_pairs constant int := 50;
  v_model recommend.evaluation_model;
  v_items constant int := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  );
  v_size int;
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = v_id
    and known.model_no = _test_people.model_no;
  v_size := v_items * greatest(jsonb_array_length(v_model.parts), 1);

  with person as materialized (
    select
      person.person_id, person.items, person.strengths, person.left_out, person.relevant, person.asked_at,
      person.candidates
    from recommend.evaluation_person as person
    where person.evaluation_id = v_id
      and person.person_id = any (_test_people.people)
  ),

  item as materialized (
    select
      item.item_no,
      item.available_from,
      item.available_until,
      item.people,
      bit_count(item.people)::float8 as sampled,
      greatest(item.person_count, 1)::float8 / greatest(evaluation.train_people, 1) as share,
      item.person_count,
      case v_model.prior
        when 'popularity' then item.strength
        when 'trending' then item.recent_strength
        else extract(epoch from item.available_from)::float8
      end as prior
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  ),

  part as (
    select entry.place as part, entry.history_decay
    from rows from (
      jsonb_populate_recordset(null::recommend.part, v_model.parts)
    ) with ordinality as entry (algorithm, parameters, history_decay, share, place)
  ),

  -- The items of a person in all parts, as a vector.
  history as materialized (
    select
      entry.person_id,
      format('{%s}/%s', string_agg(format('%s:%s', entry.place, entry.factor), ','), v_size)::sparsevec as v
    from (
      select
        person.person_id,
        (part.part - 1) * v_items + used.item_no as place,
        (used.strength * part.history_decay ^ (cardinality(person.items) - used.place))::real as factor
      from person
      cross join lateral unnest(person.items, person.strengths) with ordinality as used (item_no, strength, place)
      cross join part
      -- Later factors are not numbers of single precision.
      where used.strength > 0
        and (cardinality(person.items) - used.place) * ln(part.history_decay) > -60
    ) as entry
    group by entry.person_id
  ),

  weight as materialized (
    select weight.item_no, weight.weights
    from recommend.evaluation_weight as weight
    where weight.evaluation_id = v_id
      and weight.model_no = v_model.model_no
  ),

  ranked as (
    select
      person.person_id,
      item.item_no,
      item.item_no = any (person.relevant) as is_relevant,
      row_number() over (
        partition by person.person_id
        order by coalesce(history.v <#> weight.weights, 0), item.prior desc, item.item_no
      ) as place
    from person
    join item
      on (
        person.asked_at is null
        or item.available_from <= person.asked_at and item.available_until > person.asked_at
      )
      and item.item_no <> all (person.left_out)
      and (person.candidates is null or item.item_no = any (person.candidates))
    left join history on history.person_id = person.person_id
    left join weight on weight.item_no = item.item_no
  ),

  listed as materialized (
    select
      ranked.person_id,
      array_agg(ranked.item_no order by ranked.place) filter (where ranked.place <= v_most) as list,
      array_agg(ranked.place::int order by ranked.place) filter (where ranked.is_relevant) as places
    from ranked
    where ranked.place <= v_most or ranked.is_relevant
    group by ranked.person_id
  ),

  entry as materialized (
    select listed.person_id, entry.item_no, entry.place, item.share, item.person_count, item.people, item.sampled
    from listed
    cross join lateral unnest(listed.list) with ordinality as entry (item_no, place)
    join item using (item_no)
  ),

  pair as materialized (
    select
      one.person_id,
      other.place,
      one.place as other,
      coalesce(
        bit_count(one.people & other.people) / nullif(sqrt(one.sampled * other.sampled), 0),
        0
      ) as similarity
    from entry as one
    join entry as other on other.person_id = one.person_id and other.place > one.place
    where other.place <= v_most_pairs
      and evaluation.purpose = 'evaluation'
  ),

  list_measure as (
    select
      entry.person_id,
      size.k,
      avg(-ln(entry.share) / ln(2) order by entry.place) as novelty,
      avg(entry.person_count / greatest(evaluation.train_people, 1)::float8 order by entry.place) as popularity
    from entry
    join unnest(evaluation.k) as size (k) on entry.place <= size.k
    group by entry.person_id, size.k
  ),

  pair_measure as (
    select pair.person_id, size.k, 1 - avg(pair.similarity order by pair.place, pair.other) as diversity
    from pair
    join unnest(evaluation.k) as size (k) on pair.place <= size.k
    group by pair.person_id, size.k
  ),

  profile as (
    select
      person.person_id,
      avg(item.person_count / greatest(evaluation.train_people, 1)::float8 order by used.item_no) as popularity
    from person
    cross join lateral unnest(person.items, person.strengths) as used (item_no, strength)
    join item using (item_no)
    where used.strength > 0
    group by person.person_id
  ),

  measured as (
    select
      listed.person_id,
      size.place,
      recommend._list_metrics(listed.places, size.k) || array[
        list_measure.novelty,
        coalesce(pair_measure.diversity, 0),
        list_measure.popularity,
        coalesce(profile.popularity, 0)
      ] as gains
    from listed
    cross join lateral unnest(evaluation.k) with ordinality as size (k, place)
    join list_measure on list_measure.person_id = listed.person_id and list_measure.k = size.k
    left join pair_measure on pair_measure.person_id = listed.person_id and pair_measure.k = size.k
    left join profile on profile.person_id = listed.person_id
  ),

  joined as (
    select
      listed.person_id,
      listed.list || array_fill(0, array[v_most - cardinality(listed.list)]) as list,
      array_agg(gain.value order by measured.place, gain.place) as gains
    from listed
    join measured using (person_id)
    cross join lateral unnest(measured.gains) with ordinality as gain (value, place)
    group by listed.person_id, listed.list
  )

  update recommend.evaluation_person as person
  set
    models_done = v_model.model_no,
    gains = person.gains || joined.gains,
    lists = person.lists || joined.list
  from joined
  where person.evaluation_id = v_id
    and person.person_id = joined.person_id
    and person.models_done = v_model.model_no - 1;
end;
$$;

comment on function recommend._test_people(recommend.evaluation, int, bigint[]) is $$
@behavior -*
Ranks the items for some test people by a model of an evaluation, and adds their metrics and lists to their rows.
The score of an item is the sum over the items of the person of strength, history decay and weight, as in serving; items
with equal scores, such as those the model does not know, are in the order of the prior.
$$;
