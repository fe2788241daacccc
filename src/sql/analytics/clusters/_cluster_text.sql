create or replace function analytics._cluster_text(deviations float8[])
returns text
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select coalesce(
    nullif(
      concat_ws(
        ' ',
        'High: ' || string_agg(
          replace(entry.feature, '_', ' '), ', ' order by $1[entry.position] desc, entry.position
        ) filter (where $1[entry.position] >= 0.5) || '.',
        'Low: ' || string_agg(
          replace(entry.feature, '_', ' '), ', ' order by $1[entry.position], entry.position
        ) filter (where $1[entry.position] <= -0.5) || '.'
      ),
      ''
    ),
    'About as all people.'
  )
  from analytics._behaviour_features() with ordinality
    as entry (feature, is_logarithmic, high_word, low_word, description, position);
$$;

comment on function analytics._cluster_text(float8[]) is $$
Returns the description of a cluster: the features in which it differs from all people, the largest difference first.
$$;
