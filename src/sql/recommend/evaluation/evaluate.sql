create or replace function recommend.evaluate(
  models text[] default null,
  protocol text default 'time',
  k int[] default '{10}',
  kind text default 'course',
  seed bigint default 1,
  segments text[] default '{}',
  people int default 1000,
  resamples int default 1000,
  split_at timestamptz default null
)
returns setof recommend.evaluation_result
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_evaluation recommend.evaluation := recommend.start_evaluation(
    evaluate.models, evaluate.protocol, evaluate.k, evaluate.kind, evaluate.seed, evaluate.segments, evaluate.people,
    evaluate.resamples, evaluate.split_at
  );
begin
  while v_evaluation.state = 'running' loop
    v_evaluation := recommend.continue_evaluation(v_evaluation.evaluation_id);
  end loop;
  return query
  select result.*
  from recommend.evaluation_result as result
  join recommend.evaluation_model as model using (evaluation_id, model)
  where result.evaluation_id = v_evaluation.evaluation_id
  order by result.segment, model.model_no, result.k, result.metric;
end;
$$;

comment on function recommend.evaluate(text[], text, int[], text, bigint, text[], int, int, timestamptz) is $$
Measures recommenders on what people did, and returns each metric with its bootstrap interval.
`models`: `popularity` (sum of the strengths of people), `trending` (the same, halved every 30 days), `latest`, the
models of `recommend.evaluate_relations` with their parameters, as in `ease(458)`, and `deployed` (the stored weights of
the deployed version when it was trained on earlier data only, otherwise its method and parameters, trained on the same
rows as the others); null: one of each. `protocol`:
- `time`: trains on what happened before `split_at` (default: the time after which a fifth of the items were taken), and
  ranks for each person the items that were known and available then; relevant are those that she took afterwards.
- `leave_last_out`: the last item of each person, among the items that were available when she took it.
- `one_vs_100`: the same, among 100 sampled items that she never used.
- `random`: a fifth of the items of each person, among all items.
All models, popularity too, rank the same items for the same people. Items that a model does not score are ordered by
popularity. `k`: lengths of the lists. `segments`: named sets of people, as in `track.person_set`. `people`: maximum
number of test people, sampled by `seed`.
Metrics: `precision`, `recall`, `recall_min` (divided by the smaller of k and the number of relevant items), `ndcg`
(ideal list cut at k), `ndcg_uncut`, `map`, `mrr`, `hit_rate`, `coverage` (share of the available items that are in a
list), `novelty` (mean of -log2 of the share of people with the item), `diversity` (1 - mean cosine of the pairs of the
first 50 items, by at most 4,096 people), `popularity` (mean share of people with the item), `popularity_bias` (its
change from what people used to what is recommended). `recommend.evaluation_comparison` has the paired tests.
Everything is one transaction; `recommend.start_evaluation` and `recommend.continue_evaluation` do the same in steps.
Memory is that of one step, at most 500,000 pairs of a person and an item and the weights of one model.
Errors: CF001, CF002 (an unknown kind, model, protocol or set of people), CF004 for too few people, CF008.
Source: Ferrari Dacrema et al., A troubling analysis of reproducibility and progress in recommender systems research,
TOIS 2021; Abdollahpouri et al., The unfairness of popularity bias in recommendation, 2019.
$$;

grant execute on function recommend.evaluate(text[], text, int[], text, bigint, text[], int, int, timestamptz)
to insights_admin, insights_worker;
