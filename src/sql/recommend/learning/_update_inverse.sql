create or replace function recommend._update_inverse(model_id bigint, part smallint)
returns boolean
language plpgsql
volatile
set search_path from current
set client_min_messages to warning
set jit to off
as $$
declare
  v_most_columns constant int := 256;
  v_columns_at_once constant int := 48;
  v_part record;
  v_lambda float8;
  v_exponent float8;
  v_dropout float8;
  v_person_exponent float8;
  v_items constant bigint[] := array(
    select known.item_id
    from recommend.learned_item as known
    where known.model_id = _update_inverse.model_id
      and known.part = _update_inverse.part
    order by known.item_id
  );
  v_new bigint[];
  v_all bigint[];
  v_kept bigint[];
  v_inverse vector[];
  v_columns vector[];
  v_factors float8[];
begin
  select * into v_part
  from recommend._learning_parts(_update_inverse.model_id) as known
  where known.part = _update_inverse.part;
  v_lambda := v_part.parameters ->> 'lambda';
  v_exponent := coalesce((v_part.parameters ->> 'exponent')::float8, 0);
  v_dropout := coalesce((v_part.parameters ->> 'dropout')::float8, 0);
  v_person_exponent := coalesce((v_part.parameters ->> 'person_exponent')::float8, 0);

  -- The rows of people whose items or strengths changed, with the factor of the person; the order does not count.
  create temporary table _recommend_side on commit drop as
  with entry as (
    select side.sign, side.person_no, side.item_no,
      (side.weight * sqrt(side.item_count::float8 ^ -v_person_exponent / v_part.person_mean))::real as weight
    from (
      select 1 as sign, person_no, item_no, weight, count(*) over (partition by person_no) as item_count
      from pg_temp._recommend_after

      union all

      select -1, person_no, item_no, weight, count(*) over (partition by person_no)
      from pg_temp._recommend_before
    ) as side
  )

  select entry.*
  from entry
  where entry.person_no in (
    select same.person_no
    from (
      select person_no, sum(sign) as rows_
      from entry
      group by person_no, item_no, weight
    ) as same
    where same.rows_ <> 0
  );
  if not exists (select from pg_temp._recommend_side) then
    drop table pg_temp._recommend_side;
    return false;
  end if;

  create temporary table _recommend_touched on commit drop as
  select
    change.item_no as item_id, known.item_id is null as is_new, coalesce(known.person_count, 0) as before,
    coalesce(known.person_count, 0) + change.people as after, change.square
  from (
    select item_no, sum(sign)::int as people, sum(sign * weight::float8 * weight) as square
    from pg_temp._recommend_side
    group by item_no
  ) as change
  left join recommend.learned_item as known
    on known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part
    and known.item_id = change.item_no;
  v_new := array(select touched.item_id from pg_temp._recommend_touched as touched where touched.is_new);
  v_all := array(select item_id from unnest(v_items || v_new) as item_id order by item_id);
  v_kept := array(
    select item_id
    from unnest(v_all) as item_id
    where item_id not in (select touched.item_id from pg_temp._recommend_touched as touched where touched.after = 0)
    order by item_id
  );

  -- Columns of the change of XᵀX and the ridges. What is added comes first, so that each sum stays positive definite.
  select
    array_agg(change.v order by change.factor desc, change.key),
    array_agg(change.factor order by change.factor desc, change.key)
  into v_columns, v_factors
  from (
    select
      side.sign::float8 as factor, side.person_no as key,
      format('{%s}/%s', string_agg(item.place || ':' || side.weight, ','), cardinality(v_all))::sparsevec::vector as v
    from pg_temp._recommend_side as side
    join unnest(v_all) with ordinality as item (item_id, place) on item.item_id = side.item_no
    where side.weight > 0
    group by side.sign, side.person_no

    union all

    select ridge.difference, ridge.item_id, format('{%s:1}/%s', item.place, cardinality(v_all))::sparsevec::vector
    from (
      select
        touched.item_id,
        v_lambda * (touched.after::float8 ^ v_exponent - touched.before::float8 ^ v_exponent)
          + v_dropout / (1 - v_dropout) * touched.square as difference
      from pg_temp._recommend_touched as touched
      -- A new item begins with its ridge. One that leaves keeps its own until its row and column are removed.
      where not touched.is_new
        and touched.after > 0
    ) as ridge
    join unnest(v_all) with ordinality as item (item_id, place) using (item_id)
    where abs(ridge.difference) > 1e-9 * v_lambda
  ) as change;

  if v_items = '{}' or v_kept = '{}' or cardinality(v_columns) > least(v_most_columns, cardinality(v_items) / 4 + 16)
  then
    drop table pg_temp._recommend_side, pg_temp._recommend_touched;
    perform recommend._relearn_part(_update_inverse.model_id, _update_inverse.part);
    return true;
  end if;

  select array_agg(known.inverse order by known.item_id) into v_inverse
  from recommend.learned_item as known
  where known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part;
  if v_new <> '{}' then
    v_inverse := recommend._placed(v_inverse, v_items, v_all, array(
      select 1 / (
        v_lambda * touched.after::float8 ^ v_exponent + v_dropout / (1 - v_dropout) * touched.square
      )
      from unnest(v_all) with ordinality as item (item_id, place)
      left join pg_temp._recommend_touched as touched on touched.item_id = item.item_id and touched.is_new
      order by item.place
    ));
  end if;
  begin
    for v_first in 1..cardinality(v_columns) by v_columns_at_once loop
      v_inverse := ml.low_rank_update(
        v_inverse,
        v_columns[v_first:v_first + v_columns_at_once - 1],
        v_factors[v_first:v_first + v_columns_at_once - 1]
      );
    end loop;
  exception when sqlstate 'CF007' then
    -- Too little is left of a row for single precision.
    drop table pg_temp._recommend_side, pg_temp._recommend_touched;
    perform recommend._relearn_part(_update_inverse.model_id, _update_inverse.part);
    return true;
  end;
  if v_kept <> v_all then
    v_inverse := recommend._placed(v_inverse, v_all, v_kept, null);
  end if;

  delete from recommend.learned_item as known
  where known.model_id = _update_inverse.model_id
    and known.part = _update_inverse.part
    and known.item_id <> all (v_kept);
  insert into recommend.learned_item as known (model_id, part, item_id, person_count, inverse)
  select
    _update_inverse.model_id, _update_inverse.part, fresh.item_id, coalesce(touched.after, 0), fresh.v
  from unnest(v_kept, v_inverse) as fresh (item_id, v)
  left join pg_temp._recommend_touched as touched using (item_id)
  on conflict on constraint learned_item_pkey do update
  set
    inverse = excluded.inverse,
    person_count = case
      when excluded.item_id in (select touched.item_id from pg_temp._recommend_touched as touched)
        then excluded.person_count
      else known.person_count
    end;
  drop table pg_temp._recommend_side, pg_temp._recommend_touched;
  return true;
end;
$$;

comment on function recommend._update_inverse(bigint, smallint) is $$
@behavior -*
Updates P = (XᵀX + ridges)⁻¹ of EASE or EDLAE for the rows in the temporary table `_recommend_after`.
Those in `_recommend_before` are subtracted: one column per row, and one per item whose ridge changes
(`ml.low_rank_update`).
A new item begins with a row and column of its ridge alone; one that no person has any more has no link to the others,
so that its row and column are removed. With many changes P is computed from the whole record. Returns whether anything
changed: not when only the order of items did.
$$;
