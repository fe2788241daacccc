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
set search_path from current
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_top constant int := least(top, item_count);
  v_batch constant int := greatest(1, least(1000, 1000000 / greatest(v_top, 1)));
  v_size constant int := item_count * greatest(cardinality(parts), 1) + 1;
  v_people int[];
  v_place int := 0;
begin
  drop table if exists pg_temp._recommend_gain, pg_temp._recommend_listed;
  create temporary table _recommend_gain (person_no int, relevant_count int, ranks int[]) on commit drop;
  create temporary table _recommend_listed (item_no int, rank int) on commit drop;
  execute format('select coalesce(array_agg(person_no order by person_no), ''{}'') from %s', targets) into v_people;

  while v_place < cardinality(v_people) loop
    execute format(
      $statement$
      with used as materialized (
        select
          person_no,
          item_no,
          weight,
          rank() over (partition by person_no order by position desc nulls last) - 1 as later
        from %1$s as training
        where person_no = any ($1)
      ),

      history as (
        select
          used.person_no,
          array_agg(distinct used.item_no) as items,
          string_agg(format('%%s:%%s', (part.n - 1) * $3 + used.item_no, strength.value), ',')
            filter (where strength.value > 1e-6) as entries
        from used
        cross join unnest($2) with ordinality as part (algorithm, parameters, history_decay, share, n)
        cross join lateral (
          select case when used.later * ln(part.history_decay) > -40 then
            (used.weight * part.history_decay ^ used.later)::real else 0 end as value
        ) as strength
        group by used.person_no
      ),

      target as materialized (
        select
          target.person_no,
          target.relevant,
          target.relevant_count,
          target.left_out || history.items as gone,
          format('{%%s}/%%s', concat_ws(',', history.entries, $4 || ':1'), $4)::sparsevec as v
        from %2$s as target
        left join history using (person_no)
        where target.person_no = any ($1)
      ),

      -- All that the person has is among the first `top` and as many more as she has, so that it can be left out there.
      listed as materialized (
        select target.person_no, chosen.item_no, chosen.rank, chosen.item_no = any (target.relevant) as is_hit
        from target
        cross join lateral (
          select ranked.item_no, (row_number() over (order by ranked.score, ranked.item_no))::int as rank
          from (
            select item.item_no, target.v <#> item.v as score
            from pg_temp._recommend_column as item
            order by score, item.item_no
            limit $5 + cardinality(target.gone)
          ) as ranked
          where not exists (
            select
            from unnest(target.gone) as gone (item_no)
            where gone.item_no = ranked.item_no
          )
          order by rank
          limit $5
        ) as chosen
      ),

      gains as (
        insert into pg_temp._recommend_gain
        select target.person_no, target.relevant_count, coalesce(hit.ranks, '{}')
        from target
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
      group by item_no
      $statement$,
      training, targets
    )
    using v_people[v_place + 1 : v_place + v_batch], parts, item_count, v_size, v_top;
    v_place := v_place + v_batch;
  end loop;
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
People are ranked in batches of at most 1,000 with at most 1,000,000 rows of their lists (`work_mem` of 64 MB).
$$;

grant execute on function
  recommend._rank_targets(regclass, regclass, recommend.part[], int, int)
to insights_analyst, insights_admin, insights_worker;
