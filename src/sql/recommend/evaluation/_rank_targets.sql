create or replace function recommend._score_people(
  item_count int,
  top int
)
returns void
language plpgsql
volatile
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set enable_sort to off
set jit to off
as $$
declare
  v_sources constant int := (select count(*) from pg_temp._recommend_source);
  v_width constant int := greatest(1, least(item_count, 16000000 / greatest(v_sources, 1)));
  v_first int := 1;
begin
  truncate pg_temp._recommend_best;
  if item_count > 16000 then
    insert into pg_temp._recommend_best
    select person.person_no, best.item_no, best.score
    from pg_temp._recommend_one as person
    cross join lateral (
      select scored.item_no, sum(scored.score) as score
      from (
        select neighbour.item_no, used.strength * neighbour.weight as score
        from pg_temp._recommend_use as used
        join pg_temp._recommend_source as source using (source_no)
        cross join lateral unnest(source.neighbours, source.weights) as neighbour (item_no, weight)
        where used.person_no = person.person_no
        union all
        select least_no, 0
        from generate_series(1, least(item_count, top + person.gone_count)) as least_no
      ) as scored
      group by scored.item_no
      order by score desc, scored.item_no
      limit top + person.gone_count
    ) as best;
    return;
  end if;

  while v_first <= item_count loop
    insert into pg_temp._recommend_best
    with source as materialized (
      select source_no, subvector(v, v_first, least(v_width, item_count - v_first + 1)) as v
      from pg_temp._recommend_source
    ),

    factor as materialized (
      select strength, array_fill(strength, array[least(v_width, item_count - v_first + 1)])::vector as v
      from (select distinct used.strength from pg_temp._recommend_use as used where used.strength <> 1) as strengths
    ),

    scored as materialized (
      select
        used.person_no,
        sum(case when factor.v is null then source.v else source.v * factor.v end)::real[] as scores
      from pg_temp._recommend_use as used
      join source using (source_no)
      left join factor using (strength)
      group by used.person_no
    )

    select person.person_no, best.item_no, best.score
    from pg_temp._recommend_one as person
    join scored using (person_no)
    cross join lateral (
      select (v_first - 1 + entry.n)::int as item_no, entry.score
      from unnest(scored.scores) with ordinality as entry (score, n)
      order by entry.score desc, entry.n
      limit top + person.gone_count
    ) as best;
    v_first := v_first + v_width;
  end loop;
end;
$$;

comment on function recommend._score_people(int, int) is $$
@behavior -*
Scores all items for a batch of people, and writes the best ones to `_recommend_best (person_no, item_no, score)`.
The people are in `_recommend_one`: at least `top` and `gone_count` items of each are written. Their items and strengths
are in `_recommend_use`, the weights in `_recommend_source`. Up to 16,000 items, vectors of weights are added, for as
many columns at a time as fit into 64 MB; with more items, single weights.
$$;

create or replace function recommend._rank_targets(
  training regclass,
  targets regclass,
  parts recommend.part[],
  item_count int,
  top int
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set jit to off
as $$
declare
  v_top constant int := least(top, item_count);
  v_batch constant int := greatest(1, least(1000, 1000000 / v_top));
  v_people int[];
  v_place int := 0;
begin
  drop table if exists pg_temp._recommend_gain, pg_temp._recommend_listed, pg_temp._recommend_one,
    pg_temp._recommend_use, pg_temp._recommend_gone, pg_temp._recommend_best;
  create temporary table _recommend_gain (person_no int, relevant_count int, ranks int[]) on commit drop;
  create temporary table _recommend_listed (item_no int, rank int) on commit drop;
  create temporary table _recommend_one (
    person_no int, relevant int[], relevant_count int, gone_count int
  ) on commit drop;
  create temporary table _recommend_use (person_no int, source_no int, strength real) on commit drop;
  create temporary table _recommend_gone (person_no int, item_no int) on commit drop;
  create temporary table _recommend_best (person_no int, item_no int, score real) on commit drop;
  execute format('select array_agg(person_no order by person_no) from %s', targets) into v_people;

  while v_place < cardinality(v_people) loop
    truncate pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone;
    execute format(
      $statement$
      with target as (
        select person_no, left_out
        from %2$s
        where person_no = any ($1)
      )

      insert into pg_temp._recommend_gone
      select training.person_no, training.item_no
      from %1$s as training
      where training.person_no = any ($1)
      union
      select target.person_no, item_no
      from target
      cross join unnest(target.left_out) as item_no
      $statement$,
      training, targets
    )
    using v_people[v_place + 1 : v_place + v_batch];
    execute format(
      $statement$
      with used as (
        select
          person_no,
          item_no,
          weight,
          rank() over (partition by person_no order by position desc nulls last) - 1 as later
        from %1$s as training
        where person_no = any ($1)
      )

      insert into pg_temp._recommend_use
      select used.person_no, (part.n - 1) * $3 + used.item_no, strength.value
      from used
      cross join unnest($2) with ordinality as part (algorithm, parameters, history_decay, share, n)
      cross join lateral (
        select case when used.later * ln(part.history_decay) > -40 then
          (used.weight * part.history_decay ^ used.later)::real else 0 end as value
      ) as strength
      where strength.value > 1e-6
      union all
      select person_no, 0, 1
      from unnest($1) as person_no
      $statement$,
      training
    )
    using v_people[v_place + 1 : v_place + v_batch], parts, item_count;
    execute format(
      $statement$
      insert into pg_temp._recommend_one
      select target.person_no, target.relevant, target.relevant_count, coalesce(gone.item_count, 0)
      from %s as target
      left join (
        select person_no, count(*)::int as item_count
        from pg_temp._recommend_gone
        group by person_no
      ) as gone using (person_no)
      where target.person_no = any ($1)
      $statement$,
      targets
    )
    using v_people[v_place + 1 : v_place + v_batch];
    analyze pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone;
    perform recommend._score_people(item_count, v_top);

    -- The items that a person has are among the best: as many more were written.
    with listed as materialized (
      select
        person.person_no,
        ranked.item_no,
        ranked.rank,
        ranked.item_no = any (person.relevant) as is_hit
      from (
        select
          best.person_no,
          best.item_no,
          row_number() over (partition by best.person_no order by best.score desc, best.item_no) as rank
        from pg_temp._recommend_best as best
        left join pg_temp._recommend_gone as gone using (person_no, item_no)
        where gone.person_no is null
      ) as ranked
      join pg_temp._recommend_one as person using (person_no)
      where ranked.rank <= v_top
    ),

    gains as (
      insert into pg_temp._recommend_gain
      select target.person_no, target.relevant_count, coalesce(hit.ranks, '{}')
      from pg_temp._recommend_one as target
      left join (
        select person_no, array_agg(rank order by rank) as ranks
        from listed
        where is_hit
        group by person_no
      ) as hit using (person_no)
      order by target.person_no
    )

    insert into pg_temp._recommend_listed
    select item_no, min(rank)
    from listed
    group by item_no;
    v_place := v_place + v_batch;
  end loop;
  drop table pg_temp._recommend_one, pg_temp._recommend_use, pg_temp._recommend_gone, pg_temp._recommend_best;
end;
$$;

comment on function recommend._rank_targets(regclass, regclass, recommend.part[], int, int) is $$
@behavior -*
Ranks the items that `_fit_parts` has weighted for the people of `targets`, and writes what is measured.
`_recommend_gain (person_no, relevant_count, ranks)`: the ranks of the relevant items among the first `top`, ascending;
`_recommend_listed (item_no, rank)`: the best rank of each item in the lists of a batch of people.
An item's score is the sum of the weights from the items of the person, times their weight and
`history_decay` ^ (number of items that the person used later); factors below 1e-6 are 0. Items of equal score are
ranked by number. What the person has in `training`, and `left_out`, is not ranked.
People are ranked in batches of at most 1,000 with at most 1,000,000 rows of their lists.
$$;

grant execute on function
  recommend._score_people(int, int),
  recommend._rank_targets(regclass, regclass, recommend.part[], int, int)
to insights_analyst, insights_admin, insights_worker;
