create or replace function ml._sample(
  relation regclass,
  groups text[],
  columns text[],
  proportion float8,
  with_replacement boolean,
  seed bigint
)
returns text
language plpgsql
stable
as $$
declare
  v_partition text := case when groups = '{}' then '' else 'partition by ' || array_to_string(groups, ', ') end;
  v_columns text := (select string_agg('source.' || name, ', ' order by position)
    from unnest(columns) with ordinality as part (name, position));
begin
  -- A row's place is decided by its content and the seed, so neither the order of rows nor a parallel plan changes
  -- the draw.
  return format(
    case when with_replacement then
      'select %1$s
       from (
         select *, row_number() over (%2$s order by hashtextextended(source::text, %4$L::bigint), source::text)
           as _place, count(*) over (%2$s) as _size, dense_rank() over (order by %6$s) as _stratum
         from %3$s as source
       ) as source
       cross join lateral (
         select count(*) as copies
         from generate_series(1, round(source._size * %5$L::float8)::bigint) as draw
         where abs(hashint8extended(draw, %4$L::bigint + 1 + source._stratum) %% source._size) + 1 = source._place
       ) as drawn
       cross join generate_series(1, drawn.copies)'
    else
      'select %1$s
       from (
         select *, row_number() over (%2$s order by hashtextextended(source::text, %4$L::bigint), source::text)
           as _place, count(*) over (%2$s) as _size
         from %3$s as source
       ) as source
       where source._place <= round(source._size * %5$L::float8)'
    end,
    v_columns, v_partition, relation, seed, proportion,
    case when groups = '{}' then '1' else array_to_string(groups, ', ') end
  );
end;
$$;

comment on function ml._sample(regclass, text[], text[], float8, boolean, bigint) is $$
A query that draws a share of the rows of each group, by a hash of the row and the seed.
$$;

grant execute on function ml._sample(regclass, text[], text[], float8, boolean, bigint) to insights_analyst,
  insights_admin, insights_worker;
