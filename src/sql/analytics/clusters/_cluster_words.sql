create or replace function analytics._cluster_words(deviations float8[])
returns text[]
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select array(
    select case when $1[entry.position] > 0 then entry.high_word else entry.low_word end
    from analytics._behaviour_features() with ordinality
      as entry (feature, is_logarithmic, high_word, low_word, description, position)
    where abs($1[entry.position]) >= 0.5
    order by abs($1[entry.position]) desc, entry.position
  );
$$;

comment on function analytics._cluster_words(float8[]) is $$
Returns the words for the features by which a cluster differs from all people, the largest difference first.
A feature counts from half a standard deviation.
$$;
