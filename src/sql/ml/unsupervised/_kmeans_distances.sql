create or replace function ml._kmeans_distances(
  fn_dist text,
  centroids text[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_schema text := (
    select quote_ident(namespace.nspname)
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
  v_name text := regexp_replace(lower(coalesce(fn_dist, 'null')), '^(madlib|ml)\.', '');
  v_operator text := case v_name when 'squared_dist_norm2' then '<->' when 'dist_norm2' then '<->'
    when 'dist_norm1' then '<+>' when 'dist_angle' then '<=>' end;
begin
  if v_operator is null then
    perform common.refuse('CF001', format('there is no distance "%s"', left(v_name, 100)),
      'Choose squared_dist_norm2, dist_norm2, dist_norm1 or dist_angle.');
  end if;
  return (
    select string_agg(
      format(
        case v_name when 'squared_dist_norm2' then '(v operator(%1$s.%2$s) %3$L::%1$s.vector) ^ 2'
          -- A vector of zeros has no direction.
          when 'dist_angle'
            then 'acos(greatest(-1, least(1, 1 - nullif(v operator(%1$s.%2$s) %3$L::%1$s.vector, ''NaN''))))
              * nullif((v operator(%1$s.%2$s) %3$L::%1$s.vector) <> ''NaN'', false)::int'
          else '(v operator(%1$s.%2$s) %3$L::%1$s.vector)' end,
        v_schema, v_operator, centroid
      ),
      ', ' order by place
    )
    from unnest(centroids) with ordinality as given (centroid, place)
  );
end;
$$;

comment on function ml._kmeans_distances(text, text[]) is $$
The distances of v to each centroid (a vector as text), as SQL separated by commas.
The angle to a vector of zeros is null. Error CF001: an unknown distance.
$$;

grant execute on function ml._kmeans_distances(text, text[]) to insights_analyst, insights_admin, insights_worker;
