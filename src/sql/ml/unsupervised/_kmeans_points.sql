/*
 * Points are pgvector's vectors, moved to their common mean so that single precision measures distances between
 * points and not their distance from the origin; the centroids that are reported are averages in double precision.
 * They are read once into a temporary table; where none can be made (a server that only reads), each pass reads the
 * source.
 */
create or replace function ml._kmeans_points(
  relation regclass,
  expr_point text,
  seed bigint,
  fn_dist text
)
returns text
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
  v_point constant text := common.expression(expr_point, relation);
  v_angle constant boolean := coalesce(fn_dist ~ 'angle', false);
  v_array text;
  v_raw text;
  v_points text;
  v_seen record;
  v_mean text;
  v_reach float8;
begin
  perform common.check_count('seed', seed, -1000000000000000000, 1000000000000000000);
  if v_type = any (array['double precision[]', 'real[]', 'numeric[]', 'integer[]', 'bigint[]', 'smallint[]']::regtype[
    ]) then
    v_array := format('(%s)::float8[]', v_point);
  elsif v_type = to_regtype(v_schema || '.vector') then
    v_array := format('(%s)::real[]::float8[]', v_point);
  else
    perform common.refuse('CF001', format('point "%s" is of type %s', left(expr_point, 100), v_type),
      'Give an array of numbers, such as array[a, b], or a vector.');
  end if;
  v_raw := format('(select %s as point from %s where (%s) is not null offset 0)', v_array, relation, v_point);
  begin
    execute format(
      $query$
      select
        count(*) as row_count, min(cardinality(point)) as least, max(cardinality(point)) as most,
        count(*) filter (where array_position(point, null) is not null) as holes,
        count(*) filter (where point && array['NaN', 'Infinity', '-Infinity']::float8[]) as non_finite,
        count(*) filter (where 0 = all (point)) as zeros
      from %s as raw
      $query$,
      v_raw
    ) into v_seen;
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
    elsif v_angle and v_seen.zeros > 0 then
      perform common.refuse('CF001', format('%s points are zero in all dimensions', v_seen.zeros),
        'Such a point has no direction: leave it out, or choose another distance.');
    end if;
    execute format(
      $query$
      select
        format('array[%%s]', string_agg(format('%%L::float8', case when %2$L then 0 else mean end), ', '
          order by place)),
        max(case when %2$L then greatest(abs(least), abs(most)) else most - least end)
      from (
        select place, avg(value) as mean, min(value) as least, max(value) as most
        from %1$s as raw
        cross join lateral unnest(point) with ordinality as entry (value, place)
        group by place
      ) as centre
      $query$,
      v_raw, v_angle
    ) into v_mean, v_reach;
  exception when numeric_value_out_of_range then
    v_reach := 'Infinity';
  end;
  -- Squares of single precision hold 1e-38 to 1e38.
  if v_reach > 1e16 or (v_reach > 0 and v_reach < 1e-16) then
    perform common.refuse('CF007', format('the points of "%s" are too large or too close to be compared', relation),
      'Use other units, so that the differences between points are between 1e-16 and 1e16.');
  end if;
  v_points := format(
    $query$
    select point, (
        select array_agg(value - mean order by place)
        from unnest(point, %1$s) with ordinality as entry (value, mean, place)
      )::%2$s.vector as v,
      hashtextextended(point::text, %3$L::bigint) as key
    from %4$s as raw
    $query$,
    v_mean, v_schema, seed, v_raw
  );
  if current_setting('transaction_read_only')::boolean then
    return '(' || v_points || ' offset 0)';
  end if;
  drop table if exists pg_temp._ml_point;
  execute 'create temp table _ml_point on commit drop as ' || v_points;
  analyze pg_temp._ml_point;
  return 'pg_temp._ml_point';
end;
$$;

comment on function ml._kmeans_points(regclass, text, bigint, text) is $$
Checks the points of k-means and returns the relation of them for a statement.
Its columns: point float8[]; v, the same as vector, less the mean unless the distance is an angle; key, a hash. It is
the temporary table `_ml_point`, or in a read-only transaction a query.
Errors: CF001, CF004 (no points), CF007 (too large or too close), CF008 (over 16,000 dimensions).
$$;

grant execute on function ml._kmeans_points(regclass, text, bigint, text)
  to insights_analyst, insights_admin, insights_worker;
