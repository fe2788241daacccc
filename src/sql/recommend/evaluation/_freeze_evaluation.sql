create or replace function recommend._freeze_evaluation(evaluation recommend.evaluation)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set jit to off
as $$
declare
  v_evaluation recommend.evaluation := evaluation;
  v_id constant bigint := (evaluation).evaluation_id;
  v_seed constant bigint := (evaluation).seed;
  v_reference timestamptz;
begin
  create temporary table all_row on commit drop as
  select rows_.person_id, rows_.item_id, rows_.strength, rows_.first_at, rows_.last_at
  from recommend._training_rows((evaluation).kind, (evaluation).until_at) as rows_;
  select max(last_at) into v_evaluation.data_watermark from pg_temp.all_row;

  if (evaluation).protocol = 'time' then
    -- By default, a fifth of what people took is after the split.
    v_evaluation.split_at := coalesce(
      (evaluation).split_at,
      (select percentile_disc(0.8) within group (order by first_at) from pg_temp.all_row where strength >= 1)
    );
    create temporary table held_row on commit drop as
    select taken.person_id, taken.item_id, v_evaluation.split_at as asked_at
    from pg_temp.all_row as taken
    where taken.strength >= 1;
    create temporary table train_row on commit drop as
    select rows_.person_id, rows_.item_id, rows_.strength, rows_.last_at
    from recommend._training_rows((evaluation).kind, v_evaluation.split_at) as rows_;
    -- Items that had been taken, or were not liked, are not recommended.
    delete from pg_temp.held_row
    using pg_temp.train_row
    where train_row.person_id = held_row.person_id
      and train_row.item_id = held_row.item_id
      and (train_row.strength >= 1 or train_row.strength <= 0);
  else
    create temporary table held_row on commit drop as
    with taken as (
      select
        all_row.*,
        count(*) over (partition by all_row.person_id) as taken_count,
        row_number() over (
          partition by all_row.person_id
          order by
            case when (evaluation).protocol <> 'random' then all_row.first_at end desc,
            hashint8extended(all_row.item_id, hashint8extended(all_row.person_id, v_seed)),
            all_row.item_id
        ) as place
      from pg_temp.all_row
      where all_row.strength >= 1
    )
    select
      taken.person_id,
      taken.item_id,
      case when (evaluation).protocol <> 'random' then taken.first_at end as asked_at
    from taken
    where taken.place <= case when (evaluation).protocol = 'random' then greatest(taken.taken_count / 5, 1) else 1 end;
  end if;

  -- An item is known from its first use, or from the time at which it was described.
  insert into recommend.evaluation_item (
    evaluation_id, item_no, item_id, person_count, strength, recent_strength, available_from, available_until, people
  )
  select
    v_id,
    row_number() over (order by item.item_id),
    item.item_id,
    0,
    0,
    0,
    greatest(least(item.created_at, item.available_from, used.first_at), item.available_from),
    coalesce(item.available_until, 'infinity'),
    b'0'::bit(4096)
  from track.item
  left join (
    select all_row.item_id, min(all_row.first_at) as first_at
    from pg_temp.all_row
    group by all_row.item_id
  ) as used using (item_id)
  where item.kind = (evaluation).kind
    and item.merged_item_id is null;

  delete from pg_temp.held_row
  where not exists (
    select
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
      and item.item_id = held_row.item_id
      and (
        held_row.asked_at is null
        or item.available_from <= held_row.asked_at and item.available_until > held_row.asked_at
      )
  );
  if (evaluation).protocol <> 'time' then
    delete from pg_temp.held_row
    where not exists (
      select
      from pg_temp.all_row as other
      where other.person_id = held_row.person_id
        and other.item_id <> held_row.item_id
        and other.strength > 0
    );
  else
    delete from pg_temp.held_row
    where not exists (
      select
      from pg_temp.train_row
      where train_row.person_id = held_row.person_id
        and train_row.strength > 0
    );
  end if;

  -- The same seed selects the same people, also when others are added.
  delete from pg_temp.held_row
  where held_row.person_id not in (
    select sample.person_id
    from (select distinct person_id from pg_temp.held_row) as sample
    order by hashint8extended(sample.person_id, v_seed), sample.person_id
    limit (evaluation).most_people
  );
  if (evaluation).protocol <> 'time' then
    create temporary table train_row on commit drop as
    select all_row.person_id, all_row.item_id, all_row.strength, all_row.last_at
    from pg_temp.all_row
    left join pg_temp.held_row using (person_id, item_id)
    where held_row.item_id is null;
  end if;
  analyze pg_temp.train_row;
  analyze pg_temp.held_row;

  v_reference := coalesce(v_evaluation.split_at, v_evaluation.data_watermark);
  with sample as (
    select numbered.person_id, row_number() over (order by numbered.hash, numbered.person_id) as place
    from (
      select known.person_id, hashint8extended(known.person_id, v_seed) as hash
      from (select distinct person_id from pg_temp.train_row) as known
    ) as numbered
    order by numbered.hash, numbered.person_id
    limit 4096
  ),

  counted as (
    select
      train_row.item_id,
      count(*) as people,
      sum(train_row.strength::float8 order by train_row.person_id) as strength,
      sum(
        train_row.strength * 0.5 ^ (extract(epoch from v_reference - train_row.last_at)::float8 / 2592000)
        order by train_row.person_id
      ) as recent,
      coalesce(bit_or(b'1'::bit(4096) >> (sample.place - 1)::int), b'0'::bit(4096)) as bits
    from pg_temp.train_row
    left join sample using (person_id)
    where train_row.strength > 0
    group by train_row.item_id
  )

  update recommend.evaluation_item as item
  set
    person_count = counted.people,
    strength = counted.strength,
    recent_strength = counted.recent,
    people = counted.bits
  from counted
  where item.evaluation_id = v_id
    and item.item_id = counted.item_id;

  insert into recommend.evaluation_person (
    evaluation_id, person_id, items, strengths, left_out, relevant, asked_at, candidates, segments
  )
  select
    v_id,
    history.person_id,
    history.items,
    history.strengths,
    coalesce(history.left_out, '{}'),
    coalesce(held.relevant, '{}'),
    held.asked_at,
    case
      when (evaluation).protocol = 'one_vs_100' and held.relevant is not null then held.relevant || array(
        select item.item_no
        from recommend.evaluation_item as item
        where item.evaluation_id = v_id
          and item.available_from <= held.asked_at
          and item.available_until > held.asked_at
          and item.item_id not in (
            select owned.item_id
            from pg_temp.all_row as owned
            where owned.person_id = history.person_id
          )
        order by hashint8extended(item.item_id, hashint8extended(history.person_id, v_seed + 1)), item.item_no
        limit 100
      )
    end,
    case
      when held.relevant is not null then array(
        select block.name
        from track.person_set_block as block
        where block.name = any ((evaluation).segments)
          and block.block = history.person_id / 4096
          and get_bit(block.people, (history.person_id % 4096)::int) <> 0
        order by block.name
      )
      else '{}'
    end
  from (
    select
      train_row.person_id,
      array_agg(item.item_no order by train_row.last_at, item.item_no) as items,
      array_agg(train_row.strength order by train_row.last_at, item.item_no) as strengths,
      array_agg(item.item_no order by item.item_no) filter (where train_row.strength >= 1 or train_row.strength <= 0)
        as left_out
    from pg_temp.train_row
    join recommend.evaluation_item as item on item.evaluation_id = v_id and item.item_id = train_row.item_id
    group by train_row.person_id
  ) as history
  left join (
    select
      held_row.person_id, array_agg(item.item_no order by item.item_no) as relevant, max(held_row.asked_at) as asked_at
    from pg_temp.held_row
    join recommend.evaluation_item as item on item.evaluation_id = v_id and item.item_id = held_row.item_id
    group by held_row.person_id
  ) as held using (person_id);

  select count(*), coalesce(sum(cardinality(person.items)), 0), count(*) filter (where person.relevant <> '{}')
  into v_evaluation.train_people, v_evaluation.train_rows, v_evaluation.test_people
  from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  v_evaluation.items := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
      and item.person_count > 0
  );
  drop table pg_temp.all_row, pg_temp.held_row, pg_temp.train_row;

  update recommend.evaluation as stored
  set
    split_at = v_evaluation.split_at,
    data_watermark = v_evaluation.data_watermark,
    train_people = v_evaluation.train_people,
    train_rows = v_evaluation.train_rows,
    items = v_evaluation.items,
    test_people = v_evaluation.test_people
  where stored.evaluation_id = v_id
  returning stored.* into v_evaluation;
  return v_evaluation;
end;
$$;

comment on function recommend._freeze_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the training and test rows of an evaluation by its protocol, so that later steps do not depend on later data.
`time`: models are trained on what happened before `split_at`, and tested on the items that people took afterwards,
among the items that were known and available at that time. `leave_last_out`: the last item that each person took is
held out and ranked among the items that were available when it was taken. `one_vs_100`: the same, among 100 sampled
items that the person never used. `random`: a fifth of what each person took is held out, at least one item, and ranked
among all.
Only people with another item are tested.
$$;
