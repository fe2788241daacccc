create or replace function recommend._training_rows(kind text)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
begin
  return query
  with leaf as (
    select interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at
    from recommend.interaction

    union all

    -- What the application says: enrolled is taken.
    select enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at
    from track.enrolment
    where enrolment.person_id <> 0
  ),

  allowed as (
    select leaf.*
    from leaf
    -- Allowed unless decided otherwise, or the other way round.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization') as decision
        where decision.granted <> v_by_default
      )
    )
  )

  select
    allowed.person_id,
    target.item_id,
    least(sum(allowed.weight) / v_full_weight, 1)::real,
    min(allowed.first_at),
    max(allowed.last_at)
  from allowed
  join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
  join track.item as target on target.item_id = ancestor.ancestor_item_id
  where target.kind = _training_rows.kind
  group by allowed.person_id, target.item_id
  having sum(allowed.weight) > 0;
end;
$$;

comment on function recommend._training_rows(text) is $$
@behavior -*
What everybody who may be learned from has to do with the items of a kind, by the same rules as `recommend._history`.
$$;

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

    -- Without weights: by popularity, the same for everybody.
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

  -- 1 + what scores above it + half of what ties, among all items less those of the person's.
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
At which rank a model would have put the item that each test person of a training took last, among all that the person had not taken; null: not at all. `weights` null: by popularity.
$$;

/*
 * A definer: it reads what everybody did and writes models, and is granted to those who run the installation. All in one
 * transaction: a training that is cut short leaves nothing, and the version in force stays in force.
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
  v_setting recommend.setting;
  v_project_id int;
  v_former ml.model;
  v_model_id bigint;
  v_watermark timestamptz;
  v_gram record;
  v_items bigint[];
  v_people int[];
  v_inverse vector[];
  v_lambda float8;
  v_best_ndcg float8;
  v_ndcg float8;
  v_ndcg_error float8;
  v_harder float8;
  v_people_with_two int;
  v_test_count int := 0;
  v_result recommend.training;
begin
  perform recommend._check(1, train.kind);
  if train.seed is null then
    raise exception using errcode = 'CF001', message = 'the seed is null',
      hint = 'Give a number: the same seed and data give the same model.';
  end if;
  if not pg_try_advisory_xact_lock(hashtext('recommend.train'), hashtext(train.kind)) then
    raise exception using errcode = 'CF010', message = format('the recommender of kind "%s" is being trained already', left(train.kind, 100)),
      hint = 'Wait until that is done.';
  end if;
  select * into v_setting from recommend.setting;
  v_result.kind := train.kind;

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
    raise exception using
      errcode = 'CF004',
      message = format('too little is known to learn from: %s people have to do with two or more items of kind "%s"', v_people_with_two, left(train.kind, 100)),
      hint = format(
        'At least %s are needed (recommend.setting.fewest_people). Import or simulate events, see that items have that kind and recommend.event_weight their events, and run recommend.refresh_interactions.',
        v_setting.fewest_people
      );
  end if;

  -- The item that a person took last is held out, as it is what a recommendation should have been.
  with last_taken as (
    select distinct on (taken.person_id) taken.person_id, taken.item_id
    from (
      select training.*, count(*) over (partition by training.person_id) as item_count
      from pg_temp.training
    ) as taken
    where taken.item_count > 1
      and taken.strength = 1
    order by taken.person_id, taken.first_at desc, taken.item_id
  ),

  sample as (
    select
      last_taken.*,
      row_number() over (order by hashint8extended(last_taken.person_id, train.seed), last_taken.person_id) as n
    from last_taken
  )

  update pg_temp.training
  set is_held_out = true, is_tuning = sample.n % 2 = 0
  from sample
  where sample.n <= v_setting.most_test_people
    and training.person_id = sample.person_id
    and training.item_id = sample.item_id;
  get diagnostics v_test_count = row_count;

  -- One half of the test people chooses the ridge, the other half measures the model; few of them do both.
  if v_test_count < 40 then
    update pg_temp.training set is_tuning = null where is_held_out;
  end if;
  analyze pg_temp.training;

  v_lambda := v_setting.lambdas[1];
  if v_test_count > 0 then
    select * into v_gram
    from ml._ease_gram('pg_temp.training', 'person_id', 'item_id', 'case when not is_held_out then strength end');
    v_items := v_gram.items::bigint[];

    for v_position in 1..cardinality(v_setting.lambdas) loop
      v_inverse := ml.ease_weights(ml._ease_inverse(v_gram.gram, v_setting.lambdas[v_position]));
      create temporary table held_out_rank on commit drop as
      select * from recommend._held_out_ranks(v_items, v_inverse);

      select avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end) filter (where is_tuning is not false)
      into v_ndcg
      from pg_temp.held_out_rank;

      if v_best_ndcg is null or v_ndcg > v_best_ndcg then
        v_best_ndcg := v_ndcg;
        v_lambda := v_setting.lambdas[v_position];
        select
          count(*),
          avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end),
          coalesce(stddev(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end) / sqrt(count(*)), 0),
          avg(case when rank <= 10 then 1 else 0 end)
        into v_result.test_people, v_result.ndcg_at_10, v_ndcg_error, v_result.recall_at_10
        from pg_temp.held_out_rank
        where is_tuning is not true;
      end if;
      drop table pg_temp.held_out_rank;
    end loop;

    select
      avg(case when rank <= 10 then ln(2) / ln(1 + rank) else 0 end),
      avg(case when rank <= 10 then 1 else 0 end)
    into v_result.popularity_ndcg_at_10, v_result.popularity_recall_at_10
    from recommend._held_out_ranks(v_items, null)
    where is_tuning is not true;
  end if;

  -- The model itself learns from everything.
  select * into v_gram
  from ml._ease_gram('pg_temp.training', 'person_id', 'item_id', 'strength');
  v_items := v_gram.items::bigint[];
  v_inverse := ml._ease_inverse(v_gram.gram, v_lambda);
  v_people := array(
    select count(training.person_id)
    from unnest(v_items) with ordinality as known (item_id, n)
    join pg_temp.training using (item_id)
    group by known.n
    order by known.n
  );
  v_result.items := cardinality(v_items);
  v_result.lambda := v_lambda;
  drop table pg_temp.training;

  insert into ml.project (name, task, metric, description)
  values (
    'recommend.' || train.kind, 'recommendation', 'ndcg_at_10',
    format('Which %s a person will take next.', train.kind)
  )
  on conflict (name) do nothing;
  select project_id into v_project_id from ml.project where name = 'recommend.' || train.kind;
  select * into v_former from recommend._deployed_model(train.kind);

  insert into ml.model (
    project_id, version, algorithm, parameters, metrics, seed, data_watermark, row_count, trained_at, duration
  )
  values (
    v_project_id,
    (select coalesce(max(version), 0) + 1 from ml.model where project_id = v_project_id),
    'ease',
    jsonb_build_object('lambda', v_lambda, 'lambdas', v_setting.lambdas, 'full_weight', v_setting.full_weight),
    jsonb_strip_nulls(jsonb_build_object(
      'ndcg_at_10', v_result.ndcg_at_10,
      'ndcg_at_10_standard_error', v_ndcg_error,
      'recall_at_10', v_result.recall_at_10,
      'popularity_ndcg_at_10', v_result.popularity_ndcg_at_10,
      'popularity_recall_at_10', v_result.popularity_recall_at_10,
      'test_people', v_result.test_people,
      'people', v_result.people,
      'items', v_result.items,
      'protocol', 'leave last item out, ranked among all items not taken'
    )),
    train.seed, v_watermark, v_result.interactions, clock_timestamp(), clock_timestamp() - v_started_at
  )
  returning model_id, version into v_model_id, v_result.version;

  insert into recommend.item_weight (model_id, item_no, item_id, person_count, diagonal, weights)
  select v_model_id, entry.n, entry.item_id, entry.person_count, (entry.inverse::real[])[entry.n], entry.weights
  from rows from (unnest(v_items), unnest(v_people), unnest(v_inverse), unnest(ml.ease_weights(v_inverse))) with ordinality
    as entry (item_id, person_count, inverse, weights, n);

  -- Newer data are a reason to deploy, unless the version is worse by more than chance (two standard errors). Other people and
  -- other items make another task, and how hard it is, popularity tells: the former figure is held against it in proportion.
  v_harder := coalesce(v_result.popularity_ndcg_at_10 / nullif((v_former.metrics ->> 'popularity_ndcg_at_10')::float8, 0), 1);
  v_ndcg := (v_former.metrics ->> 'ndcg_at_10')::float8 * v_harder;
  v_result.reason := case
    when v_former.model_id is null then 'first'
    when v_result.ndcg_at_10 is null or v_ndcg is null then 'newest'
    when v_result.ndcg_at_10 > v_ndcg then 'better'
    when v_result.ndcg_at_10 >= v_ndcg - 2 * sqrt(
      v_ndcg_error ^ 2 + coalesce((v_former.metrics ->> 'ndcg_at_10_standard_error')::float8 * v_harder, 0) ^ 2
    ) then 'newest'
    else 'worse'
  end;
  v_result.deployed := v_result.reason <> 'worse';
  if v_result.deployed then
    insert into ml.deployment (project_id, model_id, strategy)
    values (v_project_id, v_model_id, v_result.reason);
  end if;

  delete from recommend.item_weight
  using ml.model
  where item_weight.model_id = model.model_id
    and model.project_id = v_project_id
    and model.version <= v_result.version - v_setting.versions_kept
    and model.model_id <> (select model_id from recommend._deployed_model(train.kind));

  v_result.duration := clock_timestamp() - v_started_at;
  update ml.model set duration = v_result.duration where model_id = v_model_id;
  return v_result;
end;
$$;

comment on function recommend.train(text, bigint) is $$
Trains the recommender of a kind of items (EASE) on all interactions and enrolments, measures it, registers it as a new version of `recommend.<kind>` in `ml.model`, and deploys it unless it is worse than the version in force by more than chance, popularity being the yardstick between them.
Measured on up to `most_test_people` people: the item that each took last is held out and ranked among all that the person had not taken; NDCG@10 and recall@10 beside those of popularity. Half of these people choose the ridge, the other half measure.
People who objected to `personalization` are not learned from. The same seed and data give the same model.
Errors: CF002 for a kind that no item has, CF004 for too little to learn from, CF008 for more than 16,000 items, CF010 while the same training runs.
$$;

grant execute on function recommend.train(text, bigint) to insights_admin, insights_worker;
