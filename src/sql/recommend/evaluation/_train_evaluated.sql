create or replace function recommend._train_evaluated(evaluation_id bigint, model_no int)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_model recommend.evaluation_model;
  v_part recommend.part;
  v_place int;
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = _train_evaluated.evaluation_id
    and known.model_no = _train_evaluated.model_no;

  if v_model.model_id is not null then
    -- The stored neighbours of a version; items that it does not know have none.
    insert into recommend.evaluation_neighbours (evaluation_id, model_no, part, item_no, neighbours, weights)
    select
      v_model.evaluation_id, v_model.model_no, stored.part, source.item_no, list.neighbours, list.weights
    from recommend.neighbours as stored
    join recommend.evaluation_item as source
      on source.evaluation_id = v_model.evaluation_id and source.item_id = stored.item_id
    cross join lateral (
      select
        array_agg(target.item_no order by target.item_no) as neighbours,
        array_agg(entry.weight order by target.item_no) as weights
      from unnest(stored.neighbour_ids, stored.weights) as entry (item_id, weight)
      join recommend.evaluation_item as target
        on target.evaluation_id = v_model.evaluation_id and target.item_id = entry.item_id
    ) as list
    where stored.model_id = v_model.model_id
      and list.neighbours is not null;
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
      insert into recommend.evaluation_neighbours (evaluation_id, model_no, part, item_no, neighbours, weights)
      select v_model.evaluation_id, v_model.model_no, v_place, trained.item_no, trained.neighbours, trained.weights
      from pg_temp.trained_part as trained;
      drop table pg_temp.trained_part;
    end loop;
    drop table pg_temp.coded;
  end if;

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
