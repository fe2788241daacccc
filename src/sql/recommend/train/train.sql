/*
 * A definer: it reads the interactions of all people and writes models, and is granted to administrators and workers.
 * It runs in one transaction: a training that is cancelled leaves no rows, and the deployed version stays deployed.
 */
create or replace function recommend.train(
  kind text default 'course',
  seed bigint default 1
)
returns recommend.training
language plpgsql
volatile
security definer
set search_path from current
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_result recommend.training;
begin
  perform recommend._lock_training(train.kind, train.seed);
  -- It does not continue one that was done by steps.
  perform recommend._discard_training(train.kind);
  while v_result.version is null loop
    v_result := recommend._train_step(train.kind, train.seed);
  end loop;
  v_result.duration := clock_timestamp() - v_started_at;
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Selects and trains a recommender of a kind of items, and deploys it when it is better than the deployed version.
It is trained on all interactions and enrolments of counted people, which are refreshed first. What happened before the
time after which people took a fifth of their items is split again by time: the models of `recommend._candidates`, EASE
with each of `recommend.setting.lambdas`, those that `recommend.search` found, and blends are trained on the earlier
part, and the one with the highest NDCG@10 on the later part is selected; a blend only when it is significantly better
than the best single model. The selected model, popularity and the deployed version are then compared by the protocol
`time` of `recommend.evaluate`, on the same people and items (at most `most_test_people` people), or by the protocol
`leave_last_out` when fewer than `fewest_test_people` took an item in the last part: the deployed version
by its stored weights when these are older than the split, otherwise by its method and parameters, trained on the same
rows as the others.
The version is deployed as the `first` one when it is better than popularity, as a `better` one when it is also better
than the deployed version, and as the `newest` when it is not worse than either; `better` and `worse` are significant
differences by the paired bootstrap and the paired t-test at 5 %. When popularity is better than the deployed version,
and the selected model is not better than popularity, a version of lists by popularity is deployed.
The model is trained on all rows and registered as a version of `recommend.<kind>` in `ml.model`, also when it is not
deployed. People who have opted out of `personalization` are excluded. The same seed and data give the same model.
Everything is one transaction: a training that is cancelled leaves nothing. `recommend.train_step` does the same in
steps.
Errors: CF002 for a kind that no item has, CF004 for not enough interactions, CF010 while another training of the kind
runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
