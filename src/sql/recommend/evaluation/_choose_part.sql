create or replace function recommend._try_part(
  sample regclass,
  training regclass,
  targets regclass,
  part recommend.part,
  item_count int
)
returns float8
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_last recommend.part;
  v_ndcg float8;
begin
  select trial.ndcg into v_ndcg from pg_temp._recommend_trial as trial where trial.part = _try_part.part;
  if found then
    return v_ndcg;
  end if;
  -- The history decay is not a parameter of the weights: the last ones are kept when nothing else has changed.
  select (trial.part).* into v_last from pg_temp._recommend_trial as trial order by trial.n desc limit 1;
  if v_last.algorithm is distinct from part.algorithm or v_last.parameters is distinct from part.parameters then
    perform recommend._fit_parts(sample, array[part], item_count);
  end if;
  perform recommend._rank_targets(training, targets, array[part], item_count, 10);
  select measured.value
  into v_ndcg
  from recommend._metrics(array[10], item_count) as measured
  where measured.metric = 'ndcg';
  insert into pg_temp._recommend_trial (part, ndcg) values (_try_part.part, v_ndcg);
  return v_ndcg;
end;
$$;

comment on function recommend._try_part(regclass, regclass, regclass, recommend.part, int) is $$
@behavior -*
Returns the NDCG@10 of a model of one part for `targets`, trained on `sample`, with the histories in `training`.
The temporary table `_recommend_trial` holds the results, so that nothing is tried twice.
$$;

create or replace function recommend._hold_out_fifth(
  training regclass,
  item_limit int
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  drop table if exists pg_temp._recommend_held, pg_temp._recommend_search, pg_temp._recommend_search_target,
    pg_temp._recommend_search_sample;
  execute format(
    $statement$
    create temporary table _recommend_held on commit drop as
    select
      person_no,
      item_no,
      weight,
      position,
      row_number() over (
        partition by person_no
        order by position desc nulls last, hashint8extended(item_no, person_no), item_no
      ) <= greatest(1, round(count(*) over (partition by person_no) / 5.0))
      and count(*) over (partition by person_no) > 1 as is_held_out
    from %s
    where item_no <= $1
    $statement$,
    training
  )
  using item_limit;

  create temporary table _recommend_search on commit drop as
  select person_no, item_no, weight, position
  from pg_temp._recommend_held
  where not is_held_out;

  create temporary table _recommend_search_target on commit drop as
  select person_no, array_agg(item_no) as relevant, count(*)::int as relevant_count, '{}'::int[] as left_out
  from pg_temp._recommend_held
  where is_held_out
  group by person_no
  order by hashint8extended(person_no, 1), person_no
  limit greatest(200, 2000000 / item_limit);

  -- Models of pairs are tried on a limited number of rows, so that a trial takes seconds: those of the people to rank.
  create temporary table _recommend_search_sample on commit drop as
  select person_no, item_no, weight, position
  from (
    select
      held.*,
      sum(1) over (order by hashint8extended(person_no, 1), person_no) as row_count
    from pg_temp._recommend_search as held
  ) as counted
  where row_count <= 100000;

  drop table pg_temp._recommend_held;
  analyze pg_temp._recommend_search, pg_temp._recommend_search_target, pg_temp._recommend_search_sample;
end;
$$;

comment on function recommend._hold_out_fifth(regclass, int) is $$
@behavior -*
Holds out the last fifth of the rows of each person, at least one of two, by position, or by a hash without positions.
Writes the temporary tables `_recommend_search` (the other rows), `_recommend_search_sample` (at most 100,000 of them,
of whole people) and `_recommend_search_target` (what was held out, of as many people as are ranked in some seconds).
Only the items up to the number `item_limit` count.
$$;

create or replace function recommend._climb(
  sample regclass,
  part recommend.part,
  ndcg float8,
  grid jsonb,
  item_count int,
  out best recommend.part,
  out best_ndcg float8
)
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
  v_values jsonb;
  v_place int;
  v_step int;
  v_start float8;
  v_trial recommend.part;
  v_ndcg float8;
begin
  best := part;
  best_ndcg := ndcg;
  for v_pass in 1 .. 2 loop
    v_start := best_ndcg;
    for v_name, v_values in select * from jsonb_each(grid) loop
      foreach v_step in array array[1, -1] loop
        v_place := (
          select n
          from jsonb_array_elements(v_values) with ordinality as entry (value, n)
          where value = case v_name when 'history_decay' then to_jsonb(best.history_decay)
            else best.parameters -> v_name end
        );
        loop
          v_place := v_place + v_step;
          exit when v_place not between 1 and jsonb_array_length(v_values);
          v_trial := best;
          if v_name = 'history_decay' then
            v_trial.history_decay := (v_values ->> v_place - 1)::float8;
          else
            v_trial.parameters := jsonb_set(best.parameters, array[v_name], v_values -> v_place - 1);
          end if;
          v_ndcg := recommend._try_part(
            sample, 'pg_temp._recommend_search', 'pg_temp._recommend_search_target', v_trial, item_count
          );
          exit when not v_ndcg > best_ndcg;
          best := v_trial;
          best_ndcg := v_ndcg;
        end loop;
      end loop;
    end loop;
    exit when not best_ndcg > v_start;
  end loop;
end;
$$;

comment on function recommend._climb(regclass, recommend.part, float8, jsonb, int) is $$
@behavior -*
Returns the best part that is reached from `part` by changing one parameter at a time to a neighbouring value of `grid`.
`ndcg` is that of `part`. Each parameter is changed to both sides as long as the measure rises, all of them twice.
$$;

create or replace function recommend._choose_part(
  training regclass,
  item_count int
)
returns recommend.part
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant int := least(item_count, 1000);
  v_holds_dense constant boolean := item_count <= 16000;
  v_is_ordered boolean;
  v_pair_count bigint;
  v_sample regclass;
  v_candidate record;
  v_climbed record;
  v_part recommend.part;
  v_ndcg float8;
  v_best recommend.part;
  v_best_ndcg float8;
begin
  perform recommend._hold_out_fifth(training, v_items);
  if not exists (select from pg_temp._recommend_search_target) then
    return ('popularity', '{}', 1, 1)::recommend.part;
  end if;
  drop table if exists pg_temp._recommend_trial;
  create temporary table _recommend_trial (
    n int generated always as identity, part recommend.part, ndcg float8
  ) on commit drop;
  execute format('select exists (select from %s where position is not null)', training) into v_is_ordered;
  v_pair_count := (
    select sum(n ^ 2)
    from (select count(*) as n from pg_temp._recommend_search group by person_no) as person
  );

  for v_candidate in
    select *
    from recommend._candidates() as candidate
    where (v_is_ordered or not candidate.needs_order)
      and candidate.algorithm <> 'ease' -- EDLAE without dropout
      and (v_holds_dense or candidate.algorithm <> 'edlae')
      -- With long histories it costs more than EDLAE, which is better then.
      and not (v_holds_dense and v_pair_count > 4000000 and candidate.algorithm = 'item_knn')
  loop
    v_sample := case when v_candidate.algorithm in ('item_knn', 'sequence') then 'pg_temp._recommend_search_sample'
      else 'pg_temp._recommend_search' end;
    v_part := (v_candidate.algorithm, v_candidate.parameters, v_candidate.history_decay, 1)::recommend.part;
    v_ndcg := recommend._try_part(
      v_sample, 'pg_temp._recommend_search', 'pg_temp._recommend_search_target', v_part, v_items
    );
    if v_best_ndcg is null or v_ndcg > 0.9 * v_best_ndcg then
      v_climbed := recommend._climb(v_sample, v_part, v_ndcg, v_candidate.grid, v_items);
      v_part := v_climbed.best;
      v_ndcg := v_climbed.best_ndcg;
    end if;
    if v_best_ndcg is null or v_ndcg > v_best_ndcg then
      v_best := v_part;
      v_best_ndcg := v_ndcg;
    end if;
  end loop;
  drop table pg_temp._recommend_search, pg_temp._recommend_search_target, pg_temp._recommend_search_sample;
  return v_best;
end;
$$;

comment on function recommend._choose_part(regclass, int) is $$
@behavior -*
Returns the model of coded interactions that ranks the last fifth of the rows of each person best, by NDCG@10.
The candidates are those of `_candidates`. The parameters of a candidate that reaches 0.9 of the best one so far are
searched one after the other, from the given value to both sides as long as the measure rises, and once more.
At most 1,000 items, those with the smallest numbers, are searched. EDLAE is a candidate up to 16,000 items in all, item
kNN only up to 4,000,000 pairs of items of one person, or without EDLAE. The temporary table `_recommend_trial` holds
each trial. Without a person who has two items: popularity.
$$;

grant execute on function
  recommend._try_part(regclass, regclass, regclass, recommend.part, int),
  recommend._hold_out_fifth(regclass, int),
  recommend._climb(regclass, recommend.part, float8, jsonb, int),
  recommend._choose_part(regclass, int)
to insights_analyst, insights_admin, insights_worker;
