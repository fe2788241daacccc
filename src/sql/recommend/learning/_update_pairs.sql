create or replace function recommend._count_people(model_id bigint, part smallint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update recommend.learned_item as known
  set person_count = known.person_count + change.people
  from pg_temp._recommend_item as change
  where known.model_id = _count_people.model_id
    and known.part = _count_people.part
    and known.item_id = change.item_id
    and change.people <> 0;
  insert into recommend.learned_item (model_id, part, item_id, person_count, target_ids, totals)
  select _count_people.model_id, _count_people.part, change.item_id, change.people, '{}', '{}'
  from pg_temp._recommend_item as change
  where change.people > 0
    and not exists (
      select
      from recommend.learned_item as known
      where known.model_id = _count_people.model_id
        and known.part = _count_people.part
        and known.item_id = change.item_id
    );
end;
$$;

comment on function recommend._count_people(bigint, smallint) is $$
@behavior -*
Changes the numbers of people per item by those in the temporary table `_recommend_item` (item_id, people).
Items that are new are added.
$$;

create or replace function recommend._update_pairs(model_id bigint, part smallint)
returns boolean
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set work_mem to '64MB'
set enable_mergejoin to off
set jit to off
as $$
declare
  v_part record;
begin
  select * into v_part
  from recommend._learning_parts(_update_pairs.model_id) as known
  where known.part = _update_pairs.part;
  execute format(
    $statement$
    create temporary table _recommend_change on commit drop as
    select change.source_no, change.target_no, sum(change.total)::bigint as total
    from (
      select source_no, target_no, total from (%s) as fresh
      union all
      select source_no, target_no, -total from (%s) as stale
    ) as change
    group by change.source_no, change.target_no
    having sum(change.total) <> 0
    $statement$,
    recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._recommend_after'),
    recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._recommend_before')
  );
  if not exists (select from pg_temp._recommend_change) and not exists (
    select from pg_temp._recommend_item as item where item.people <> 0
  ) then
    drop table pg_temp._recommend_change;
    return false;
  end if;

  perform recommend._count_people(_update_pairs.model_id, _update_pairs.part);
  with merged as (
    select counted.source_no, counted.target_no, sum(counted.total)::bigint as total
    from (
      select source_no, target_no, total from pg_temp._recommend_change

      union all

      select known.item_id, entry.target_no, entry.total
      from recommend.learned_item as known
      cross join lateral unnest(known.target_ids, known.totals) as entry (target_no, total)
      where known.model_id = _update_pairs.model_id
        and known.part = _update_pairs.part
        and known.item_id in (select source_no from pg_temp._recommend_change)
    ) as counted
    group by counted.source_no, counted.target_no
  ),

  list as (
    select
      merged.source_no,
      coalesce(array_agg(merged.target_no order by merged.target_no) filter (where merged.total <> 0), '{}')
        as target_ids,
      coalesce(array_agg(merged.total order by merged.target_no) filter (where merged.total <> 0), '{}') as totals
    from merged
    group by merged.source_no
  )

  update recommend.learned_item as known
  set target_ids = list.target_ids, totals = list.totals
  from list
  where known.model_id = _update_pairs.model_id
    and known.part = _update_pairs.part
    and known.item_id = list.source_no;
  delete from recommend.learned_item as known
  where known.model_id = _update_pairs.model_id
    and known.part = _update_pairs.part
    and known.person_count = 0;
  drop table pg_temp._recommend_change;
  return true;
end;
$$;

comment on function recommend._update_pairs(bigint, smallint) is $$
@behavior -*
Adds the rows in the temporary table `_recommend_after` to the sums of a part that counts pairs.
Those in `_recommend_before` are subtracted. The result is exactly that of counting all rows. Returns whether anything changed.
Both tables have the columns `person_no`, `item_no`, `weight` and `position`, with all rows of each person.
$$;
