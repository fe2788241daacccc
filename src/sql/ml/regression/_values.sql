create or replace function ml._values(design ml.design, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from unnest(design.groups) with ordinality as part (name, position)
    ), ''),
    'row(' || (
      select string_agg(name, ', ' order by nth)
      from unnest(design.clusters) with ordinality as part (name, nth)
    ) || ')::text as cluster, ',
    '(' || design.status || ')::int::float8 as status, ',
    concat(
      -- a weight that is not allowed becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
      case when design.weights is not null then format(
        'case when %1$s between 1e-100 and 1e100 or %1$s = 0 then %1$s else ''NaN'' end as prior, ',
        ml._cast(design.weights, design.weights_type, type)
      ) end,
      case when design.offsets is not null then
        ml._cast(design.offsets, design.offsets_type, type) || ' as baseline, '
      end
    ),
    ml._cast(design.y, design.y_type, type),
    (
      select string_agg(
        case
          when not design.packed then
            format(
              ', %s as x%s',
              ml._cast(design.x[position], design.x_types[position], type),
              position
            )
          -- a row of another length becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
          when position = 1 then
            format(
              ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
              design.x[1],
              design.width,
              ml._cast(format('%s[1]', design.x[1]), design.x_types[1], type)
            )
          else
            format(
              ', %s as x%s',
              ml._cast(format('%s[%s]', design.x[1], position), design.x_types[1], type),
              position
            )
        end,
        '' order by position
      )
      from generate_series(1, design.width) as position
      where design.literals[position] is null
    ),
    design.source,
    design.alias,
    ' where ' || design.fold
  );
end;

comment on function ml._values(ml.design, text) is $$
Returns the text of the select that evaluates a design's expressions row by row.
Its columns: g1 …, prior, baseline, y, x1 … (without the literals), as float8 or numeric.
$$;

grant execute on function
  ml._values(ml.design, text)
to insights_analyst, insights_admin, insights_worker;
