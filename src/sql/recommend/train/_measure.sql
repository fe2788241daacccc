create or replace function recommend._measure(lambdas float8[])
returns recommend.measurement
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_sums constant ml.ease_sums := ml.ease_gram(
    'pg_temp.training', 'person_id', 'item_id', 'case when not is_held_out then strength end'
  );
  v_items constant bigint[] := v_sums.items::bigint[];
  v_lambda float8;
  v_best_ndcg float8;
  v_ndcg float8;
  v_measured recommend.measurement;
begin
  foreach v_lambda in array lambdas loop
    create temporary table held_out_rank on commit drop as
    select held.*, case when held.rank <= 10 then ln(2) / ln(1 + held.rank) else 0 end as gain
    from recommend._held_out_ranks(v_items, ml.ease_weights(ml.ease_inverse(v_sums.gram, v_lambda))) as held;

    select avg(gain) filter (where is_tuning is not false)
    into v_ndcg
    from pg_temp.held_out_rank;

    if v_best_ndcg is null or v_ndcg > v_best_ndcg then
      v_best_ndcg := v_ndcg;
      v_measured.lambda := v_lambda;
      select
        count(*),
        avg(gain),
        coalesce(stddev(gain) / sqrt(count(*)), 0),
        avg(case when rank <= 10 then 1 else 0 end)
      into
        v_measured.test_people, v_measured.ndcg_at_10, v_measured.ndcg_at_10_standard_error, v_measured.recall_at_10
      from pg_temp.held_out_rank
      where is_tuning is not true;
    end if;
    drop table pg_temp.held_out_rank;
  end loop;

  select
    avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end),
    avg(case when rank <= 10 then 1 else 0 end)
  into v_measured.popularity_ndcg_at_10, v_measured.popularity_recall_at_10
  from recommend._held_out_ranks(v_items, null)
  where is_tuning is not true;
  return v_measured;
end;
$$;

comment on function recommend._measure(float8[]) is $$
@behavior -*
Selects the ridge with one half of the held-out rows, and measures the model and popularity with the other half.
$$;
