create or replace function ml._pca_input(
  relation regclass,
  row_id text
)
returns text
language plpgsql
stable
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_row record;
  v_numbers text[];
begin
  -- MADlib's two dense forms: one column of arrays (or vectors), or one column per dimension.
  select attribute.attname, common.base_type(attribute.atttypid::regtype) as type
  into v_row
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = relation
    and attribute.attnum > 0
    and not attribute.attisdropped
    and common.base_type(attribute.atttypid::regtype) = any (array['double precision[]', 'real[]', 'numeric[]',
      'integer[]', 'bigint[]', v_schema || '.vector']::regtype[])
  order by attribute.attname <> 'row_vec', attribute.attnum
  limit 1;
  if v_row.attname is not null then
    return case when v_row.type = to_regtype(v_schema || '.vector') then format('%I::real[]::float8[]', v_row.attname)
      else format('%I::float8[]', v_row.attname) end;
  end if;
  v_numbers := array(
    select format('%I::float8', attribute.attname)
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation
      and attribute.attnum > 0
      and not attribute.attisdropped
      and quote_ident(attribute.attname) <> row_id
      and common.base_type(attribute.atttypid::regtype) = any (
        array['smallint', 'integer', 'bigint', 'real', 'double precision', 'numeric']::regtype[])
    order by attribute.attnum
  );
  if v_numbers = '{}' then
    perform common.refuse('CF001', format('"%s" has no column of arrays, vectors or numbers', relation),
      'Give row_id and row_vec, or row_id and one column per dimension.');
  end if;
  return format('case when num_nulls(%1$s) = 0 then array[%1$s] end', array_to_string(v_numbers, ', '));
end;
$$;

comment on function ml._pca_input(regclass, text) is $$
The expression that gives a row's vector as float8[]:
the column `row_vec`, else the first column of arrays or vectors, else all columns of numbers.
$$;

grant execute on function ml._pca_input(regclass, text) to insights_analyst, insights_admin, insights_worker;
