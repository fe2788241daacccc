create or replace function ml.knn(
  point_source text,
  point_column_name text,
  point_id text,
  label_column_name text,
  test_source text,
  test_column_name text,
  test_id text,
  output_table text,
  k int default 1,
  output_neighbors boolean default true,
  fn_dist text default 'squared_dist_norm2',
  weighted_avg boolean default false,
  algorithm text default 'brute_force',
  algorithm_params text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set client_min_messages to warning
as $$
declare
  v_points constant regclass := common.relation(point_source);
  v_tests constant regclass := common.relation(test_source);
  v_output constant text := common.output_table(output_table);
  v_schema constant text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_name constant text := regexp_replace(lower(coalesce(fn_dist, 'null')), '^(madlib|ml)\.', '');
  v_label constant text := nullif(btrim(label_column_name), '');
  v_numbers constant regtype[] := '{real, double precision, numeric}';
  v_classes constant boolean := v_label is not null
    and common.expression_type(v_label, v_points, 'label') <> all (v_numbers);
  v_list constant boolean := coalesce(output_neighbors, true) or v_label is null;
  v_id text;
  v_test_name text;
  v_dimensions int;
  v_test_dimensions int;
  v_mean text;
begin
  perform common.check_count('k', knn.k, 1, 1000);
  if v_name not in ('squared_dist_norm2', 'dist_norm2', 'dist_norm1', 'dist_angle') then
    perform common.refuse('CF001', format('there is no distance "%s"', left(v_name, 100)),
      'Choose squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.');
  elsif lower(coalesce(algorithm, 'brute_force')) !~ '^(b|k)' then
    perform common.refuse('CF001', format('there is no algorithm "%s"', left(algorithm, 100)),
      'Use brute_force; kd_tree is accepted, and exact too.');
  elsif v_list and nullif(btrim(point_id), '') is null then
    perform common.refuse('CF001', 'the id column of the points is not given',
      'Name it: neighbours are listed by id. Otherwise set output_neighbors to false, and give a label column.');
  end if;
  v_id := case when nullif(btrim(point_id), '') is not null then common.column_name(v_points, point_id, 'point id') end;
  v_dimensions := ml._knn_points('_ml_knn_point', v_points, v_id, point_column_name, v_label);
  v_test_dimensions := ml._knn_points('_ml_knn_test', v_tests, common.column_name(v_tests, test_id, 'test id'),
    test_column_name, null);
  if v_dimensions <> v_test_dimensions then
    perform common.refuse('CF001', format('the points have %s dimensions, the test points %s', v_dimensions,
      v_test_dimensions), 'Both have the same columns, in the same order.');
  end if;
  begin
    v_test_name := common.column_name(v_tests, test_column_name, 'test column');
  exception when sqlstate 'CF002' then
    v_test_name := 'test_point';
  end;
  if v_test_name in ('id', 'prediction', 'k_nearest_neighbours', 'distance') then
    v_test_name := 'test_point';
  end if;

  begin
    -- Moved to the mean of the points, for the sake of single precision; angles are measured from the origin.
    select format('array[%s]', string_agg(
      format('%L::float8', case when v_name = 'dist_angle' then 0 else mean end), ', ' order by place
    ))
    into v_mean
    from (
      select place, avg(value) as mean
      from pg_temp._ml_knn_point
      cross join lateral unnest(point) with ordinality as entry (value, place)
      group by place
    ) as centre;
    perform ml._create_table(format(
      $statement$
      create table %1$s as
      with point as materialized (
        select id, label, point, (
          select array_agg(value - mean order by place)
          from unnest(point, %2$s) with ordinality as entry (value, mean, place)
        )::%3$s.vector as v
        from pg_temp._ml_knn_point
      ),
      test as materialized (
        select id, given, point, (
          select array_agg(value - mean order by place)
          from unnest(point, %2$s) with ordinality as entry (value, mean, place)
        )::%3$s.vector as v
        from pg_temp._ml_knn_test
      )
      select test.id as id, test.given as %4$s%5$s%6$s
      from test
      cross join lateral (
        -- the distances of the nearest in double precision
        select array_agg(id order by distance, id) as ids, array_agg(distance order by distance, id) as distances
          %7$s
        from (
          select near.id, near.label, %8$s as distance
          from (
            select point.id, point.label, point.point
            from point
            order by point.v operator(%3$s.%9$s) test.v, point.id
            limit %10$s
          ) as near
        ) as measured
      ) as nearest
      %11$s
      $statement$,
      v_output,
      v_mean,
      v_schema,
      v_test_name,
      case when v_label is null then '' else ', prediction' end,
      case when v_list then ', nearest.ids as k_nearest_neighbours, nearest.distances as distance' else '' end,
      case
        when v_label is null or v_classes then ', array_agg(label order by distance, id) as labels'
        when weighted_avg then ', case when min(distance) = 0 then avg(label) filter (where distance = 0)
          else sum(label / nullif(distance, 0)) / sum(1 / nullif(distance, 0)) end as prediction'
        else ', avg(label) as prediction'
      end,
      case v_name
        when 'dist_angle' then '(
          select acos(greatest(-1, least(1, sum(a * b) / sqrt(sum(a * a)) / sqrt(sum(b * b)))))
          from unnest(near.point, test.point) as entry (a, b))'
        else format(
          '(select %s from unnest(near.point, test.point) as entry (a, b))',
          case v_name
            when 'dist_norm1' then 'sum(abs(a - b))'
            when 'dist_norm2' then 'sqrt(sum((a - b) * (a - b)))'
            else 'sum((a - b) * (a - b))'
          end
        )
      end,
      case v_name when 'dist_angle' then '<=>' when 'dist_norm1' then '<+>' else '<->' end,
      knn.k,
      case when v_classes then format(
        $votes$
        cross join lateral (
          select label as prediction
          from unnest(nearest.labels, nearest.distances) with ordinality as vote (label, distance, place)
          group by label
          -- A distance of 0 decides alone, and the nearest where votes are equal.
          order by %s desc, min(place)
          limit 1
        ) as elected
        $votes$,
        case when weighted_avg
          then 'count(*) filter (where distance = 0) desc, coalesce(sum(1 / nullif(distance, 0)), 0)'
          else 'count(*)' end
      ) else '' end
    ));
  exception when data_exception then
    perform common.refuse('CF001', format('points: %s', left(sqlerrm, 100)),
      'Coordinates and labels are finite numbers whose squares are in the range of single precision, up to 1e19.');
  end;
  drop table pg_temp._ml_knn_point, pg_temp._ml_knn_test;
end;
$$;

comment on function ml.knn(
  text, text, text, text, text, text, text, text, int, boolean, text, boolean, text, text
) is $$
@behavior -*
The k nearest neighbours of each test point, and what they predict, in MADlib's arguments.
Points are arrays of numbers or vectors, by column or expression. A label of type real, double precision or numeric is
averaged (regression), any other is elected by majority, the class of the nearest where votes are equal
(classification); null lists the neighbours only. `weighted_avg` weights by the inverse of the distance; a neighbour
at distance 0 then decides alone. `fn_dist`: squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.
Writes `output_table`: `id`, the test point under the name of its column (`test_point` for an expression),
`prediction`, and with `output_neighbors` the arrays `k_nearest_neighbours` (values of `point_id`) and `distance`,
nearest first. Equal distances are ordered by id. Rows without a point or label are left out. The neighbours are found
by pgvector's distances in single precision from the mean of the points; the distances written are in double
precision. The search is exact: `algorithm` kd_tree is accepted, and `algorithm_params` has no effect.
Errors: CF001 (types, dimensions, k, distance, algorithm, values), CF002, CF003 (`output_table` exists), CF004 (no
points), CF005, CF008 (over 16,000 dimensions).
$$;

grant execute on function ml.knn(
  text, text, text, text, text, text, text, text, int, boolean, text, boolean, text, text
) to insights_analyst, insights_admin, insights_worker;
