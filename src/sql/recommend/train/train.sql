create or replace function recommend._store_version(
  trained recommend.training,
  measured recommend.measurement,
  seed bigint,
  watermark timestamptz
)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_project constant text := 'recommend.' || (trained).kind;
  v_setting recommend.setting;
  v_version int;
begin
  select * into v_setting from recommend.setting;
  v_version := ml.register_model(
    v_project,
    task => 'recommendation',
    algorithm => 'ease',
    document => null,
    metrics => jsonb_strip_nulls(to_jsonb(measured) - 'lambda' || jsonb_build_object(
      'people', (trained).people,
      'items', (trained).items,
      'row_count', (measured).test_people,
      'protocol', 'leave last item out, ranked among all items not taken'
    )),
    parameters => jsonb_build_object(
      'lambda', (trained).lambda, 'lambdas', v_setting.lambdas, 'full_weight', v_setting.full_weight
    ),
    metric => 'ndcg_at_10',
    seed => _store_version.seed,
    data_watermark => _store_version.watermark,
    row_count => (trained).interactions,
    description => format('Which %s a person will take next.', (trained).kind)
  );
  return (
    select model.model_id
    from ml.model
    join ml.project using (project_id)
    where project.name = v_project
      and model.version = v_version
  );
end;
$$;

comment on function recommend._store_version(recommend.training, recommend.measurement, bigint, timestamptz) is $$
@behavior -*
Registers a trained version with its measures in the registry. Returns its key.
$$;

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
  v_everyone constant int := 2147483647;
  v_setting recommend.setting;
  v_measured recommend.measurement;
  v_challenged ml.training;
  v_model_id bigint;
  v_watermark timestamptz;
  v_sums ml.ease_sums;
  v_people int[];
  v_inverse vector[];
  v_people_with_two int;
  v_result recommend.training;
begin
  perform recommend._check(1, train.kind);
  if train.seed is null then
    perform common.refuse('CF001', 'seed is null', 'Give a number: the same seed and data give the same model.');
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(train.kind)) then
    perform common.refuse(
      'CF010',
      format('another training of the recommender of kind "%s" is running', left(train.kind, 100)),
      'Try again when it has finished.'
    );
  end if;
  select * into v_setting from recommend.setting;
  v_result.kind := train.kind;

  perform track.refresh(v_everyone, 'track.session');
  perform track.refresh(v_everyone, 'track.person_set');
  perform track.refresh(v_everyone, 'recommend.interaction');
  create temporary table training on commit drop as
  select rows_.*, false as is_held_out, false as is_tuning
  from recommend._training_rows(train.kind) as rows_;
  analyze pg_temp.training;

  select count(*) filter (where owned.item_count > 1), count(*), sum(owned.item_count), max(owned.last_at)
  into v_people_with_two, v_result.people, v_result.interactions, v_watermark
  from (
    select person_id, count(*) as item_count, max(last_at) as last_at
    from pg_temp.training
    group by person_id
  ) as owned;

  if v_people_with_two < v_setting.fewest_people then
    perform common.refuse(
      'CF004',
      format(
        'not enough interactions to train: %s people have two or more items of kind "%s"',
        v_people_with_two, left(train.kind, 100)
      ),
      format(
        'At least %s people are needed (recommend.setting.fewest_people). Import or simulate events, '
          || 'and check that items have that kind and that recommend.event_weight has their events.',
        v_setting.fewest_people
      )
    );
  end if;

  v_measured.lambda := v_setting.lambdas[1];
  if recommend._hold_out(v_setting.most_test_people, train.seed) > 0 then
    analyze pg_temp.training;
    v_measured := recommend._measure(v_setting.lambdas);
  end if;
  v_result.lambda := v_measured.lambda;
  v_result.ndcg_at_10 := v_measured.ndcg_at_10;
  v_result.recall_at_10 := v_measured.recall_at_10;
  v_result.popularity_ndcg_at_10 := v_measured.popularity_ndcg_at_10;
  v_result.popularity_recall_at_10 := v_measured.popularity_recall_at_10;
  v_result.test_people := v_measured.test_people;

  -- The model itself is trained on all rows, including those held out for the measurement.
  v_sums := ml.ease_gram('pg_temp.training', 'person_id', 'item_id', 'strength');
  v_inverse := ml.ease_inverse(v_sums.gram, v_result.lambda);
  v_people := array(
    select count(training.person_id)
    from unnest(v_sums.items::bigint[]) with ordinality as known (item_id, n)
    join pg_temp.training using (item_id)
    group by known.n
    order by known.n
  );
  v_result.items := cardinality(v_sums.items);
  drop table pg_temp.training;

  v_model_id := recommend._store_version(v_result, v_measured, train.seed, v_watermark);
  perform recommend._store_neighbours(v_model_id, v_sums.items::bigint[], v_people, v_inverse);

  -- The versions are measured on different people and items. The measure of popularity shows how hard each task was.
  v_challenged := ml.challenge_by_metrics(
    'recommend.' || train.kind,
    (select model.version from ml.model where model.model_id = v_model_id),
    baseline => 'popularity_ndcg_at_10',
    duration => clock_timestamp() - v_started_at
  );
  v_result.version := v_challenged.version;
  v_result.deployed := v_challenged.deployed;
  v_result.duration := v_challenged.duration;
  v_result.reason := case
    when v_challenged.outcome in ('first', 'better', 'worse') then v_challenged.outcome
    else 'newest'
  end;

  perform recommend._delete_old_weights(v_challenged.project, v_result.version - v_setting.versions_kept);
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Trains the recommender of a kind of items (EASE) on all interactions and enrolments of counted people, and measures it.
Refreshes the interactions first. Registers the model as a new version of `recommend.<kind>` in `ml.model`, and
deploys it unless it is significantly worse than the deployed version (`ml.challenge_by_metrics`, with popularity as
the baseline).
The last item of at most `most_test_people` people is held out, and ranked among all items that the person had not
taken. NDCG@10 and recall@10 are compared with those of popularity. Half of these people select the ridge, the other
half measure.
People who have opted out of `personalization` are excluded. The same seed and data give the same model.
Errors: CF002 for a kind that no item has, CF004 for not enough interactions, CF008 for more than 16,000 items, CF010
while the same training runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
