create or replace function ml._knn_points(
  target text,
  relation regclass,
  id text,
  point text,
  label text
)
returns int
language plpgsql
set jit to off
set client_min_messages to warning
as $$
declare
  v_schema constant text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_type constant regtype := common.expression_type(point, relation, 'point');
  v_array text;
  v_seen record;
begin
  if v_type = any (
    array['double precision[]', 'real[]', 'numeric[]', 'integer[]', 'bigint[]', 'smallint[]']::regtype[]
  ) then
    v_array := format('(%s)::float8[]', point);
  elsif v_type = to_regtype(v_schema || '.vector') then
    v_array := format('(%s)::real[]::float8[]', point);
  else
    perform common.refuse('CF001', format('point "%s" is of type %s', left(point, 100), v_type),
      'Give an array of numbers, such as array[a, b], or a vector.');
  end if;
  execute format('drop table if exists %I.%I', 'pg_temp', target);
  execute format(
    'create temp table %1$I on commit drop as
     select %2$s as id, (%3$s) as given, %4$s as point, %5$s as label
     from %6$s where (%3$s) is not null and (%7$s) is not null',
    target, coalesce(id, 'null::bigint'), point, v_array, coalesce(label, 'null::text'), relation,
    coalesce(label, 'true')
  );
  execute format(
    'select count(*) as row_count, min(cardinality(point)) as least, max(cardinality(point)) as most,
       count(*) filter (where array_position(point, null) is not null
         or point && array[''NaN'', ''Infinity'', ''-Infinity'']::float8[]
         or array_ndims(point) > 1) as invalid
     from pg_temp.%I',
    target
  ) into v_seen;
  if v_seen.row_count = 0 then
    perform common.refuse('CF004', format('"%s" has no point', relation), 'Rows need a point that is not null.');
  elsif v_seen.least <> v_seen.most or v_seen.least = 0 then
    perform common.refuse('CF001', format('points of "%s" have %s to %s dimensions', relation, v_seen.least,
      v_seen.most), 'All points have the same number of dimensions.');
  elsif v_seen.invalid > 0 then
    perform common.refuse('CF001', format('%s points of "%s" hold a null, NaN or infinity', v_seen.invalid, relation),
      'Leave such rows out or fill them.');
  elsif v_seen.most > 16000 then
    perform common.refuse('CF008', format('%s dimensions', v_seen.most), 'A vector has up to 16,000.');
  end if;
  return v_seen.least;
end;
$$;

comment on function ml._knn_points(text, regclass, text, text, text) is $$
Reads points once into the temporary table `target` (id, given, point float8[], label) and returns their dimension.
$$;

grant execute on function ml._knn_points(text, regclass, text, text, text)
to insights_analyst, insights_admin, insights_worker;
