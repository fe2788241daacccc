create or replace function ml._values(design jsonb, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from jsonb_array_elements_text(design -> 'groups') with ordinality as part (name, position)
    ), ''),
    'row(' || (
      select string_agg(name, ', ' order by nth)
      from jsonb_array_elements_text(design -> 'clusters') with ordinality as part (name, nth)
    ) || ')::text as cluster, ',
    '(' || (design ->> 'status') || ')::int::float8 as status, ',
    concat(
      -- a weight that is not allowed becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
      case when design ? 'weights' then format(
        'case when %1$s between 1e-100 and 1e100 or %1$s = 0 then %1$s else ''NaN'' end as prior, ',
        ml._cast(design ->> 'weights', design ->> 'weights_type', type)
      ) end,
      case when design ? 'offsets' then
        ml._cast(design ->> 'offsets', design ->> 'offsets_type', type) || ' as baseline, '
      end
    ),
    ml._cast(design ->> 'y', design ->> 'y_type', type),
    (
      select string_agg(
        case
          when not (design ->> 'array')::boolean then
            format(
              ', %s as x%s',
              ml._cast(design -> 'x' ->> position - 1, design -> 'x_types' ->> position - 1, type),
              position
            )
          -- a row of another length becomes NaN, which stops the training; ml._refuse_non_finite finds the row then
          when position = 1 then
            format(
              ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
              design -> 'x' ->> 0,
              design ->> 'width',
              ml._cast(format('%s[1]', design -> 'x' ->> 0), design -> 'x_types' ->> 0, type)
            )
          else
            format(
              ', %s as x%s',
              ml._cast(format('%s[%s]', design -> 'x' ->> 0, position), design -> 'x_types' ->> 0, type),
              position
            )
        end,
        '' order by position
      )
      from generate_series(1, (design ->> 'width')::int) as position
      where design -> 'literals' -> position - 1 = 'null'
    ),
    design ->> 'relation',
    design ->> 'alias',
    ' where ' || (design ->> 'where')
  );
end;

comment on function ml._values(jsonb, text) is $$
Returns the text of the select that evaluates a design's expressions row by row.
Its columns: g1 …, prior, baseline, y, x1 … (without the literals), as float8 or numeric.
$$;

grant execute on function
  ml._values(jsonb, text)
to insights_analyst, insights_admin, insights_worker;
