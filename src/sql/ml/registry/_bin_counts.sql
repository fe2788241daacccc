create or replace function ml._bin_counts(rows_of text, bins jsonb)
returns table (feature text, counts float8[])
language plpgsql
stable
set jit to off
as $$
begin
  if bins = '[]' then
    return;
  end if;
  return query execute format(
    $query$
    with tally as (
      select placed.position, placed.place, count(*)::float8 as row_count
      from %s as input
      cross join lateral (values %s) as placed (position, place)
      group by 1, 2
    )
    select bin.feature::text, array(
      select coalesce(tally.row_count, 0)
      from generate_series(0, bin.size - 1) as number
      left join tally on tally.position = bin.position and tally.place = number
      order by number
    )
    from (values %s) as bin (position, feature, size)
    order by bin.position
    $query$,
    rows_of,
    (
      select string_agg(
        case
          when jsonb_typeof(bin -> 'edges') = 'array' then format(
            '(%s, coalesce(width_bucket(x%s, %L::float8[]) + 1, 0))', position, bin ->> 'place',
            array(select edge::float8 from jsonb_array_elements_text(bin -> 'edges') as edge)
          )
          else format(
            '(%1$s, case when x%2$s is null then 0 else coalesce(array_position(%3$L::text[], x%2$s), %4$s) end)',
            position, bin ->> 'place',
            array(select jsonb_array_elements_text(bin -> 'categories')), jsonb_array_length(bin -> 'categories') + 1
          )
        end,
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    ),
    (
      select string_agg(
        format(
          '(%s, %L, %s)', position, bin ->> 'feature',
          2 + case when jsonb_typeof(bin -> 'edges') = 'array' then jsonb_array_length(bin -> 'edges')
            else jsonb_array_length(bin -> 'categories') end
        ),
        ', ' order by position
      )
      from jsonb_array_elements(bins) with ordinality as listed (bin, position)
    )
  );
end;
$$;

comment on function ml._bin_counts(text, jsonb) is $$
Counts the rows in each bin of each feature, in one scan.
`rows_of` is a query with the features as x1, x2, …; a bin has `feature`, `place` (the number of its x) and `edges` or
`categories`.
$$;

grant execute on function ml._bin_counts(text, jsonb) to insights_admin, insights_worker;
