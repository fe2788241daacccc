create or replace function recommend._train_evaluated(evaluation_id bigint, model_no int)
returns void
language plpgsql
volatile
set search_path from current
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model recommend.evaluation_model;
  v_part recommend.part;
  v_place int;
  v_items constant int := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = _train_evaluated.evaluation_id
  );
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = _train_evaluated.evaluation_id
    and known.model_no = _train_evaluated.model_no;
  create temporary table entry (place int, item_no int, weight float8) on commit drop;

  if v_model.model_id is not null then
    -- The stored neighbours of a version; items that it does not know have none.
    insert into pg_temp.entry (place, item_no, weight)
    select (part.part - 1) * v_items + source.item_no, target.item_no, part.share * neighbour.weight
    from recommend.model_part as part
    join recommend.neighbours as stored on stored.model_id = part.model_id and stored.part = part.part
    join recommend.evaluation_item as source
      on source.evaluation_id = v_model.evaluation_id and source.item_id = stored.item_id
    cross join lateral unnest(stored.neighbour_ids, stored.weights) as neighbour (item_id, weight)
    join recommend.evaluation_item as target
      on target.evaluation_id = v_model.evaluation_id and target.item_id = neighbour.item_id
    where part.model_id = v_model.model_id;
  elsif v_model.parts <> '[]' then
    create temporary table coded on commit drop as
    select
      dense_rank() over (order by person.person_id)::int as person_no,
      used.item_no,
      used.strength as weight,
      row_number() over (partition by person.person_id order by used.place)::int as position
    from recommend.evaluation_person as person
    cross join lateral unnest(person.items, person.strengths) with ordinality as used (item_no, strength, place)
    where person.evaluation_id = v_model.evaluation_id
      and used.strength > 0;
    analyze pg_temp.coded;
    for v_part.algorithm, v_part.parameters, v_part.history_decay, v_part.share, v_place in
      select *
      from rows from (
        jsonb_populate_recordset(null::recommend.part, v_model.parts)
      ) with ordinality as part (algorithm, parameters, history_decay, share, place)
    loop
      perform recommend._train_part('pg_temp.coded', v_part, jsonb_array_length(v_model.parts) > 1);
      insert into pg_temp.entry (place, item_no, weight)
      select (v_place - 1) * v_items + trained.item_no, neighbour.item_no, v_part.share * neighbour.weight
      from pg_temp.trained_part as trained
      cross join lateral unnest(trained.neighbours, trained.weights) as neighbour (item_no, weight);
      drop table pg_temp.trained_part;
    end loop;
    drop table pg_temp.coded;
  end if;

  insert into recommend.evaluation_weight (evaluation_id, model_no, item_no, weights)
  select
    v_model.evaluation_id,
    v_model.model_no,
    entry.item_no,
    format(
      '{%s}/%s',
      string_agg(format('%s:%s', entry.place, entry.weight::real), ','),
      v_items * greatest(jsonb_array_length(v_model.parts), 1)
    )::sparsevec
  from pg_temp.entry
  -- Smaller ones are not numbers of single precision.
  where abs(entry.weight) > 1e-30
  group by entry.item_no;
  drop table pg_temp.entry;

  update recommend.evaluation_model as known
  set is_trained = true, duration = clock_timestamp() - v_started_at
  where known.evaluation_id = v_model.evaluation_id
    and known.model_no = v_model.model_no;
end;
$$;

comment on function recommend._train_evaluated(bigint, int) is $$
@behavior -*
Trains a model of an evaluation on the stored training rows, or copies the stored neighbours of its version.
$$;
