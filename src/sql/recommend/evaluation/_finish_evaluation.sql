create or replace function recommend._finish_evaluation(evaluation recommend.evaluation)
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_id constant bigint := (evaluation).evaluation_id;
  v_metrics constant text[] := '{precision,recall,recall_min,ndcg,ndcg_uncut,map,mrr,hit_rate,novelty,diversity,'
    'popularity,profile}';
  v_width constant int := cardinality(v_metrics);
  v_block constant int := v_width * cardinality((evaluation).k);
  v_most constant int := (select max(k) from unnest((evaluation).k) as k);
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_segment text;
  v_people bigint[];
  v_gains vector[];
begin
  foreach v_segment in array array[''] || (evaluation).segments loop
    v_people := array(
      select person.person_id
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.relevant <> '{}'
        and (v_segment = '' or v_segment = any (person.segments))
      order by person.person_id
    );
    continue when cardinality(v_people) < case when v_segment = '' then 1 else v_smallest_group end;

    v_gains := array(
      select person.gains::vector
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.person_id = any (v_people)
      order by person.person_id
    );
    create temporary table resampled on commit drop as
    select sample.resample, mean.place::int, mean.value::float8
    from recommend._resampled_means(v_gains, (evaluation).resamples, (evaluation).seed) as sample
    cross join unnest(sample.means) with ordinality as mean (value, place);

    create temporary table tested on commit drop as
    select person.person_id, person.gains, person.lists, person.asked_at, person.candidates
    from recommend.evaluation_person as person
    where person.evaluation_id = v_id
      and person.person_id = any (v_people);
    create temporary table gain on commit drop as
    select tested.person_id, gain.place::int, gain.value
    from pg_temp.tested
    cross join lateral unnest(tested.gains) with ordinality as gain (value, place);
    analyze pg_temp.tested;
    create index on pg_temp.gain (place);
    create index on pg_temp.resampled (place);
    analyze pg_temp.gain;
    analyze pg_temp.resampled;

    create temporary table cell on commit drop as
    select
      model.model,
      model.model_no,
      size.k,
      size.place::int as k_no,
      metric.metric,
      ((model.model_no - 1) * v_block + (size.place - 1) * v_width + metric.place)::int as place
    from recommend.evaluation_model as model
    cross join unnest((evaluation).k) with ordinality as size (k, place)
    cross join unnest(v_metrics) with ordinality as metric (metric, place)
    where model.evaluation_id = v_id;

    insert into recommend.evaluation_result (
      evaluation_id, model, segment, metric, k, value, standard_error, lower, upper, people
    )
    select
      v_id, cell.model, v_segment, cell.metric, cell.k, mean.value, spread.standard_error, spread.lower, spread.upper,
      cardinality(v_people)
    from pg_temp.cell
    join (
      select place, avg(value order by person_id) as value
      from pg_temp.gain
      group by place
    ) as mean using (place)
    join (
      select
        place,
        stddev_samp(value order by resample) as standard_error,
        percentile_cont(0.025) within group (order by value) as lower,
        percentile_cont(0.975) within group (order by value) as upper
      from pg_temp.resampled
      group by place
    ) as spread using (place)
    where cell.metric <> 'profile'
      and (cell.metric <> 'diversity' or cell.k > 1 and (evaluation).purpose = 'evaluation')

    union all

    -- The change of the mean popularity from what people used to what is recommended to them.
    select
      v_id, cell.model, v_segment, 'popularity_bias', cell.k,
      (select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place)
        / nullif((select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place + 1), 0) - 1,
      spread.standard_error, spread.lower, spread.upper, cardinality(v_people)
    from pg_temp.cell
    cross join lateral (
      select
        stddev_samp(ratio.value order by ratio.resample) as standard_error,
        percentile_cont(0.025) within group (order by ratio.value) as lower,
        percentile_cont(0.975) within group (order by ratio.value) as upper
      from (
        select list.resample, list.value / nullif(profile.value, 0) - 1 as value
        from pg_temp.resampled as list
        join pg_temp.resampled as profile on profile.resample = list.resample and profile.place = cell.place + 1
        where list.place = cell.place
      ) as ratio
    ) as spread
    where cell.metric = 'popularity'

    union all

    select
      v_id, covered.model, v_segment, 'coverage', covered.k, covered.items / nullif(available.items, 0)::float8,
      null, null, null, cardinality(v_people)
    from (
      select cell.model, cell.k, count(distinct entry.item_no) filter (where entry.item_no > 0) as items
      from pg_temp.cell
      cross join pg_temp.tested
      cross join lateral unnest(
        tested.lists[(cell.model_no - 1) * v_most + 1:(cell.model_no - 1) * v_most + cell.k]
      ) as entry (item_no)
      where cell.metric = 'precision'
      group by cell.model, cell.k
    ) as covered
    cross join (
      select count(*) as items
      from recommend.evaluation_item as item
      where item.evaluation_id = v_id
        and exists (
          select 1
          from pg_temp.tested
          where (
            tested.asked_at is null
            or item.available_from <= tested.asked_at and item.available_until > tested.asked_at
          )
            and (tested.candidates is null or item.item_no = any (tested.candidates))
        )
    ) as available;

    if v_segment = '' then
      insert into recommend.evaluation_comparison (
        evaluation_id, model, other_model, metric, k, difference, standard_error, lower, upper, t, p_value, verdict,
        people
      )
      select
        v_id, cell.model, other.model, cell.metric, cell.k, test.difference, test.standard_error, test.lower,
        test.upper, test.t, test.p_value, test.verdict, test.people
      from pg_temp.cell
      join pg_temp.cell as other
        on other.k = cell.k and other.metric = cell.metric and other.model_no > cell.model_no
      cross join lateral recommend._compare(
        array(
          select one.value - two.value
          from pg_temp.gain as one
          join pg_temp.gain as two on two.person_id = one.person_id and two.place = other.place
          where one.place = cell.place
          order by one.person_id
        ),
        array(
          select one.value - two.value
          from pg_temp.resampled as one
          join pg_temp.resampled as two on two.resample = one.resample and two.place = other.place
          where one.place = cell.place
          order by one.resample
        )
      ) as test
      where cell.metric <> 'profile'
        and (cell.metric <> 'diversity' or cell.k > 1)
        and ((evaluation).purpose = 'evaluation' or cell.metric = 'ndcg')
        and (evaluation).purpose <> 'search';
    end if;
    drop table pg_temp.cell, pg_temp.gain, pg_temp.resampled, pg_temp.tested;
  end loop;

  if (evaluation).purpose = 'search' then
    insert into recommend.best_parameters (
      kind, algorithm, history_decay, parameters, ndcg_at_10, evaluation_id, found_at
    )
    select distinct on (part.algorithm)
      (evaluation).kind, part.algorithm, part.history_decay, part.parameters, result.value, v_id, clock_timestamp()
    from recommend.evaluation_model as model
    join recommend.evaluation_result as result
      on result.evaluation_id = v_id and result.model = model.model and result.segment = '' and result.metric = 'ndcg'
    cross join lateral jsonb_populate_recordset(null::recommend.part, model.parts) as part
    where model.evaluation_id = v_id
    order by part.algorithm, result.value desc, model.model_no
    on conflict (kind, algorithm) do update
    set
      history_decay = excluded.history_decay,
      parameters = excluded.parameters,
      ndcg_at_10 = excluded.ndcg_at_10,
      evaluation_id = excluded.evaluation_id,
      found_at = excluded.found_at;
  end if;

  -- Rows about people are not kept.
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  delete from recommend.evaluation_weight as weight
  where weight.evaluation_id = v_id;
  delete from recommend.evaluation_item as item
  where item.evaluation_id = v_id;
  update recommend.evaluation as stored
  set state = 'finished', progress = 1, finished_at = clock_timestamp(), progressed_at = clock_timestamp()
  where stored.evaluation_id = v_id;
end;
$$;

comment on function recommend._finish_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the results and the paired comparisons of an evaluation, and deletes its rows about people.
Called when all people are tested. Segments with fewer people than `analytics.setting.smallest_group` have no results.
$$;
