create or replace function recommend._list_part(model_id bigint, part smallint)
returns void
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
  v_items bigint[];
  v_inverse vector[];
  v_scale float8;
begin
  select * into v_part
  from recommend._learning_parts(_list_part.model_id) as known
  where known.part = _list_part.part;
  create temporary table _recommend_list (item_id bigint, neighbour_ids bigint[], weights real[]) on commit drop;
  if v_part.algorithm in ('ease', 'edlae') then
    select array_agg(known.item_id order by known.item_id), array_agg(known.inverse order by known.item_id)
    into v_items, v_inverse
    from recommend.learned_item as known
    where known.model_id = _list_part.model_id
      and known.part = _list_part.part;
    execute 'insert into pg_temp._recommend_list ' || recommend._statement(v_part.algorithm, v_part.parameters)
    using v_inverse, v_items;
  else
    execute 'insert into pg_temp._recommend_list ' || recommend._statement(
      v_part.algorithm,
      v_part.parameters,
      pairs => format(
        $statement$
        select counted.item_id as source_no, entry.target_no, entry.total
        from recommend.learned_item as counted
        cross join lateral unnest(counted.target_ids, counted.totals) as entry (target_no, total)
        where counted.model_id = %s
          and counted.part = %s
        $statement$,
        _list_part.model_id, _list_part.part
      )
    );
  end if;

  -- The weights of methods differ in size. In a blend, those of each part have the same mean length per item.
  v_scale := v_part.scale;
  if v_part.is_blended and v_scale is null then
    select nullif(avg(sqrt(length.squares)), 0) into v_scale
    from pg_temp._recommend_list as list
    cross join lateral (
      select sum(weight::float8 * weight) as squares from unnest(list.weights) as weight
    ) as length;
    update recommend.model_part as known
    set scale = v_scale
    where known.model_id = _list_part.model_id
      and known.part = _list_part.part;
  end if;
  if v_scale is not null then
    update pg_temp._recommend_list as list
    set weights = array(
      select (entry.weight / v_scale)::real
      from unnest(list.weights) with ordinality as entry (weight, place)
      order by entry.place
    );
  end if;

  delete from recommend.neighbours as stored
  where stored.model_id = _list_part.model_id
    and stored.part = _list_part.part
    and not exists (
      select
      from recommend.learned_item as known
      where known.model_id = stored.model_id
        and known.part = stored.part
        and known.item_id = stored.item_id
    );
  insert into recommend.neighbours as stored (model_id, part, item_id, person_count, neighbour_ids, weights)
  select
    known.model_id, known.part, known.item_id, known.person_count, coalesce(list.neighbour_ids, '{}'),
    coalesce(list.weights, '{}')
  from recommend.learned_item as known
  left join pg_temp._recommend_list as list using (item_id)
  where known.model_id = _list_part.model_id
    and known.part = _list_part.part
  on conflict on constraint neighbours_pkey do update
  set person_count = excluded.person_count, neighbour_ids = excluded.neighbour_ids, weights = excluded.weights
  where (stored.person_count, stored.neighbour_ids, stored.weights)
    is distinct from (excluded.person_count, excluded.neighbour_ids, excluded.weights);
  drop table pg_temp._recommend_list;
end;
$$;

comment on function recommend._list_part(bigint, smallint) is $$
@behavior -*
Makes the neighbour lists of a part of a version from `recommend.learned_item`. Only lists that differ are written.
People who are served meanwhile see the former lists until the transaction ends.
$$;
