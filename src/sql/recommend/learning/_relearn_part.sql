create or replace function recommend._person_mean(model_id bigint, exponent float8)
returns float8
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select avg(cardinality(learned.item_ids)::float8 ^ -_person_mean.exponent)
    from recommend.learned
    where learned.model_id = _person_mean.model_id
  );
end;
$$;

comment on function recommend._person_mean(bigint, float8) is $$
@behavior -*
Returns the mean of n ^ -`exponent` over the people in the record of a version, n being their number of items.
$$;

create or replace function recommend._relearn_part(model_id bigint, part smallint)
returns float8
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
  v_person_exponent float8;
  v_mean float8;
  v_sums ml.ease_sums;
  v_inverse vector[];
  v_drift float8;
begin
  select * into v_part
  from recommend._learning_parts(_relearn_part.model_id) as known
  where known.part = _relearn_part.part;
  v_person_exponent := coalesce((v_part.parameters ->> 'person_exponent')::float8, 0);
  v_mean := v_part.person_mean;
  if v_part.algorithm in ('ease', 'edlae') and v_mean is null then
    v_mean := recommend._person_mean(_relearn_part.model_id, v_person_exponent);
    update recommend.model_part as known
    set person_mean = v_mean
    where known.model_id = _relearn_part.model_id
      and known.part = _relearn_part.part;
  end if;

  create temporary table _recommend_row on commit drop as
  select
    learned.person_id as person_no, entry.item_id as item_no, entry.place::int as position,
    case
      when v_mean is null then entry.strength
      -- A factor of a person is a factor of its square root on each of her weights.
      else (entry.strength * sqrt(cardinality(learned.item_ids)::float8 ^ -v_person_exponent / v_mean))::real
    end as weight
  from recommend.learned
  cross join lateral unnest(learned.item_ids, learned.strengths)
    with ordinality as entry (item_id, strength, place)
  where learned.model_id = _relearn_part.model_id;
  analyze pg_temp._recommend_row;

  if v_part.algorithm in ('ease', 'edlae') and exists (select from pg_temp._recommend_row) then
    v_sums := ml.ease_coded_sums('pg_temp._recommend_row');
    v_inverse := ml.edlae_inverse(
      v_sums, (v_part.parameters ->> 'lambda')::float8, coalesce((v_part.parameters ->> 'exponent')::float8, 0),
      coalesce((v_part.parameters ->> 'dropout')::float8, 0)
    );
    select max(l2_distance(fresh.v, known.inverse) / nullif(vector_norm(fresh.v), 0)) into v_drift
    from unnest(v_sums.items::bigint[], v_inverse) as fresh (item_id, v)
    join recommend.learned_item as known
      on known.model_id = _relearn_part.model_id
      and known.part = _relearn_part.part
      and known.item_id = fresh.item_id
      and vector_dims(known.inverse) = vector_dims(fresh.v);
  end if;

  delete from recommend.learned_item as known
  where known.model_id = _relearn_part.model_id
    and known.part = _relearn_part.part;
  if v_inverse is not null then
    insert into recommend.learned_item (model_id, part, item_id, person_count, inverse)
    select _relearn_part.model_id, _relearn_part.part, fresh.item_id, fresh.person_count, fresh.v
    from unnest(v_sums.items::bigint[], v_sums.person_counts, v_inverse) as fresh (item_id, person_count, v);
  elsif v_part.algorithm not in ('ease', 'edlae') then
    execute format(
      $statement$
      insert into recommend.learned_item (model_id, part, item_id, person_count, target_ids, totals)
      select $1, $2, item.item_no, item.person_count, coalesce(list.target_ids, '{}'), coalesce(list.totals, '{}')
      from (select item_no, count(*) as person_count from pg_temp._recommend_row group by item_no) as item
      left join (
        select
          pair.source_no as item_no, array_agg(pair.target_no order by pair.target_no) as target_ids,
          array_agg(pair.total::bigint order by pair.target_no) as totals
        from (%s) as pair
        where pair.total > 0
        group by pair.source_no
      ) as list using (item_no)
      $statement$,
      recommend._statement(v_part.algorithm, v_part.parameters, 'pg_temp._recommend_row')
    )
    using _relearn_part.model_id, _relearn_part.part;
    v_drift := 0;
  end if;
  drop table pg_temp._recommend_row;
  return v_drift;
end;
$$;

comment on function recommend._relearn_part(bigint, smallint) is $$
@behavior -*
Computes the statistics of a part of a version from the whole record, with the parameters that its training fixed.
Returns the relative error of the statistics that were there: the largest of a row of P; null when the items differ.
$$;
