/* A definer: it reads the interactions of all people, and is granted to administrators and workers. */
create or replace function recommend.start_search(
  kind text default 'course',
  trials int default 50,
  seed bigint default 1
)
returns recommend.evaluation
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_setting recommend.setting;
  v_evaluation recommend.evaluation;
  v_items int;
begin
  perform recommend._check_session('search parameters');
  perform recommend._check(1, start_search.kind);
  perform common.check_count('trials', start_search.trials, 1, 500);
  if start_search.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same parameters.');
  end if;
  select * into v_setting from recommend.setting;
  v_evaluation.kind := start_search.kind;
  v_evaluation.purpose := 'search';
  v_evaluation.protocol := 'time';
  v_evaluation.k := '{10}';
  v_evaluation.seed := start_search.seed;
  v_evaluation.most_people := v_setting.most_test_people;
  v_evaluation.resamples := 100;
  -- The rows that a training decides on are not searched on.
  select
    count(distinct rows_.item_id),
    percentile_disc(0.8) within group (order by rows_.first_at) filter (where rows_.strength >= 1)
  into v_items, v_evaluation.until_at
  from recommend._training_rows(start_search.kind) as rows_;

  v_evaluation := recommend._start_evaluation(
    v_evaluation,
    array(select trial from recommend._trials(start_search.trials, start_search.seed, v_items) as trial)
  );
  if v_evaluation.test_people < v_setting.fewest_people then
    perform common.refuse(
      'CF004',
      format('not enough people to search on: %s', v_evaluation.test_people),
      format('At least %s people are needed (recommend.setting.fewest_people) who took an item after others.',
        v_setting.fewest_people)
    );
  end if;
  return v_evaluation;
end;
$$;

comment on function recommend.start_search(text, int, bigint) is $$
Starts a search of the parameters of recommenders: `recommend.continue_evaluation` tries them in steps.
`trials` sets of parameters are drawn by the seed from the grids of the models, those that a model has without a search
among them. They are trained and tested as in the selection of a training. The best of each method is kept in
`recommend.best_parameters`, and the next training tries it. `recommend.evaluation_result` has all trials.
Errors: CF001, CF002 for a kind that no item has, CF004 for too few people, CF008.
$$;

grant execute on function recommend.start_search(text, int, bigint) to insights_admin, insights_worker;
