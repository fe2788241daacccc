create or replace function recommend._update_model(model_id bigint, people bigint[], rows_ recommend.learned[])
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set client_min_messages to warning
as $$
declare
  v_fewest_people constant int := (select fewest_people from recommend.setting);
  -- Updates in single precision add up: then the statistics are computed from the record again.
  v_most_updates constant int := 200;
  v_part record;
  v_people bigint[];
  v_changed boolean;
begin
  create temporary table _learn_before on commit drop as
  select learned.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from recommend.learned
  cross join lateral unnest(learned.item_ids, learned.strengths) with ordinality as entry (item_id, strength, place)
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (_update_model.people);
  create temporary table _learn_after on commit drop as
  select fresh.person_id as person_no, entry.item_id as item_no, entry.strength as weight,
    entry.place::int as position
  from unnest(_update_model.rows_) as fresh
  cross join lateral unnest(fresh.item_ids, fresh.strengths) with ordinality as entry (item_id, strength, place);
  v_people := array(
    select distinct coalesce(fresh.person_no, stale.person_no)
    from pg_temp._learn_after as fresh
    full join pg_temp._learn_before as stale
      on stale.person_no = fresh.person_no
      and stale.position = fresh.position
    where (fresh.item_no, fresh.weight) is distinct from (stale.item_no, stale.weight)
    order by 1
  );
  if v_people = '{}' then
    drop table pg_temp._learn_before, pg_temp._learn_after;
    return 0;
  end if;
  delete from pg_temp._learn_before as stale where stale.person_no <> all (v_people);
  delete from pg_temp._learn_after as fresh where fresh.person_no <> all (v_people);
  analyze pg_temp._learn_before, pg_temp._learn_after;

  delete from recommend.learned
  where learned.model_id = _update_model.model_id
    and learned.person_id = any (v_people);
  insert into recommend.learned (person_id, model_id, item_ids, strengths)
  select fresh.person_id, _update_model.model_id, fresh.item_ids, fresh.strengths
  from unnest(_update_model.rows_) as fresh
  where fresh.person_id = any (v_people);
  update recommend.learning
  set
    update_count = learning.update_count + 1,
    updated_at = clock_timestamp(),
    person_count = learning.person_count
      + (select count(distinct fresh.person_no) from pg_temp._learn_after as fresh)::int
      - (select count(distinct stale.person_no) from pg_temp._learn_before as stale)::int
  where learning.model_id = _update_model.model_id;

  create temporary table _learn_item on commit drop as
  select change.item_no as item_id, sum(change.people)::int as people
  from (
    select item_no, 1 as people from pg_temp._learn_after
    union all
    select item_no, -1 from pg_temp._learn_before
  ) as change
  group by change.item_no;
  -- One person can bring thousands of items, and the time of an update grows with the third power of their number.
  if not recommend._keeps_record(
    _update_model.model_id,
    (
      select count(*)
      from (
        select known.item_id from recommend.learned_item as known where known.model_id = _update_model.model_id
        union
        select item.item_id from pg_temp._learn_item as item where item.people > 0
      ) as item
    )
  )
  then
    drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;
    return 0;
  end if;
  for v_part in select * from recommend._learning_parts(_update_model.model_id) loop
    v_changed := case
      when v_part.algorithm in ('ease', 'edlae') then
        recommend._update_inverse(_update_model.model_id, v_part.part)
      else recommend._update_pairs(_update_model.model_id, v_part.part)
    end;
    if v_changed then
      perform recommend._list_part(_update_model.model_id, v_part.part);
    end if;
  end loop;
  drop table pg_temp._learn_before, pg_temp._learn_after, pg_temp._learn_item;

  if (select update_count from recommend.learning where learning.model_id = _update_model.model_id) >= v_most_updates
  then
    perform recommend._relearn(_update_model.model_id);
  end if;
  -- The items of few people could be inferred from the lists.
  if (
    select count(*)
    from (
      select 1
      from recommend.learned
      where learned.model_id = _update_model.model_id
        and cardinality(learned.item_ids) > 1
      limit v_fewest_people
    ) as known
  ) < v_fewest_people then
    perform recommend._mark_versions(array[_update_model.model_id], 'too few people are left');
  end if;
  return cardinality(v_people);
end;
$$;

comment on function recommend._update_model(bigint, bigint[], recommend.learned[]) is $$
@behavior -*
Changes a version so that it is as if it had been trained on `rows_` for these people; those without a row leave it.
The record, the statistics and the lists change in one transaction. Returns the number of people whose rows differ from
the record. The version is marked for training when fewer than `recommend.setting.fewest_people` people with two items
are left.
$$;
