/*
 * Points are pgvector's vectors, moved to their common mean so that single precision measures distances between
 * points and not their distance from the origin; the centroids that are reported are averages in double precision.
 * One statement an iteration assigns all points, averages and counts: the centroids are constants in it.
 */
create or replace function ml._kmeans_points(
  relation regclass,
  expr_point text,
  seed bigint,
  centred boolean
)
returns int
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_type regtype := common.expression_type(expr_point, relation, 'point');
  v_array text;
  v_seen record;
  v_mean text;
begin
  if v_type = any (array['double precision[]', 'real[]', 'numeric[]', 'integer[]', 'bigint[]', 'smallint[]']::regtype[
    ]) then
    v_array := format('(%s)::float8[]', expr_point);
  elsif v_type = to_regtype(v_schema || '.vector') then
    v_array := format('(%s)::real[]::float8[]', expr_point);
  else
    perform common.refuse('CF001', format('point "%s" is of type %s', left(expr_point, 100), v_type),
      'Give an array of numbers, such as array[a, b], or a vector.');
  end if;
  drop table if exists pg_temp._ml_point, pg_temp._ml_raw_point;
  execute format('create temp table _ml_raw_point on commit drop as select %s as point from %s where (%s) is not null',
    v_array, relation, expr_point);
  select
    count(*) as row_count, min(cardinality(point)) as least, max(cardinality(point)) as most,
    count(*) filter (where array_position(point, null) is not null) as holes,
    count(*) filter (where point && array['NaN', 'Infinity', '-Infinity']::float8[]) as non_finite
  into v_seen
  from pg_temp._ml_raw_point;
  if v_seen.row_count = 0 then
    perform common.refuse('CF004', format('"%s" has no point', relation), 'Rows need a point that is not null.');
  elsif v_seen.least <> v_seen.most or v_seen.least = 0 then
    perform common.refuse('CF001', format('points have %s to %s dimensions', v_seen.least, v_seen.most),
      'All points have the same number of dimensions.');
  elsif v_seen.holes > 0 or v_seen.non_finite > 0 then
    perform common.refuse('CF001', format('%s points hold a null, NaN or infinity', v_seen.holes + v_seen.non_finite),
      'Leave such rows out or fill them.');
  elsif v_seen.most > 16000 then
    perform common.refuse('CF008', format('%s dimensions', v_seen.most), 'A vector has up to 16,000.');
  end if;
  select format('array[%s]', string_agg(format('%L::float8', case when centred then mean else 0 end), ', '
      order by place))
  into v_mean
  from (
    select place, avg(value) as mean
    from pg_temp._ml_raw_point
    cross join lateral unnest(point) with ordinality as entry (value, place)
    group by place
  ) as centre;
  execute format(
    'create temp table _ml_point on commit drop as
     select point, (select array_agg(value - mean order by place)
       from unnest(point, %1$s) with ordinality as entry (value, mean, place))::%2$s.vector as v,
       hashtextextended(point::text, %3$L::bigint) as key
     from pg_temp._ml_raw_point',
    v_mean, v_schema, seed
  );
  drop table pg_temp._ml_raw_point;
  return v_seen.least;
end;
$$;

comment on function ml._kmeans_points(regclass, text, bigint, boolean) is $$
Reads points once into the temporary table `_ml_point` (point float8[]; v:
the same as vector, less the mean if `centred`; key) and returns their dimension.
$$;

grant execute on function ml._kmeans_points(regclass, text, bigint, boolean)
  to insights_analyst, insights_admin, insights_worker;
