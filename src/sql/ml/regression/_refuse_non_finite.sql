create or replace function ml._refuse_non_finite(design ml.design)
returns void
language plpgsql
as $$
declare
  v_relation constant regclass := design.relation;
  v_bare ml.design := design;
  v_key text;
  v_row text;
begin
  v_bare.fold := null;
  v_bare.groups := '{}';
  v_key := (
    select string_agg(
      format('%L || %I::text', attribute.attname || ' = ', attribute.attname),
      ' || '', '' || ' order by part.position
    )
    from pg_catalog.pg_index as index
    cross join lateral unnest(index.indkey::int2[]) with ordinality as part (attnum, position)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = index.indrelid and attribute.attnum = part.attnum
    where index.indrelid = v_relation
      and index.indisprimary
  );
  v_row := (
    select found.key
    from ml._sums(
      format(
        $statement$
        select
          key || case
            when width <> %s then format(' with %%s independent variables instead of %s', width)
            %s
            else ''
          end,
          true,
          1::bigint,
          null::float8[]
        from (select %s as key, %s as width, %ssource.* from %s as %s cross join lateral (%s) as source) as source
        where %s and (%s)
        limit 1
        $statement$,
        design.width,
        design.width,
        case
          when design.weights is not null then
            'when prior = ''NaN'' then format('') has the weight %s'', coalesce(weight, ''null''))'
          else ''
        end,
        coalesce(v_key, format('left(%s::text, 200)', design.alias)),
        case
          when design.packed then format('cardinality(%s)', design.x[1])
          else design.width::text
        end,
        case when design.weights is not null then format('(%s)::text as weight, ', design.weights) else '' end,
        design.source,
        design.alias,
        -- the same expressions, over the current row
        left(
          ml._values(v_bare, 'float8'),
          -length(format(' from %s as %s', design.source, design.alias))
        ),
        ml._complete(design),
        'y in (''NaN'', ''Infinity'', ''-Infinity'')'
          || ml._columns_of(design, 'x', ' or %s in (''NaN'', ''Infinity'', ''-Infinity'')', '')
          || case
            when design.offsets is not null then ' or baseline in (''NaN'', ''Infinity'', ''-Infinity'')'
            else ''
          end
          || case when design.weights is not null then ' or prior = ''NaN''' else '' end
      ),
      v_relation
    ) as found
  );
  perform common.refuse(
    'CF001',
    case
      when v_row is null then format('a sum over "%s" is not finite', v_relation)
      when v_row ~ 'instead of' then format('row (%s) of "%s"', v_row, v_relation)
      when v_row ~ '\) has the weight ' then format(
        'row (%s) of "%s" has the weight %s',
        substring(v_row from '^(.*)\) has the weight '),
        v_relation,
        left(substring(v_row from '^.*\) has the weight (.*)$'), 100)
      )
      else format('row (%s) of "%s" contains NaN or infinity', v_row, v_relation)
    end,
    case
      when v_row ~ '\) has the weight ' then 'Weights are 0, which skips the row, or from 1e-100 to 1e100.'
      else 'Only finite numbers can be fitted; use null instead to have the row skipped.'
    end
  );
end;
$$;

comment on function ml._refuse_non_finite(ml.design) is $$
Raises CF001 and names the row that contains NaN, infinity, an array of another length or a weight that is not allowed.
The row is named by its primary key if it has one.
Called when a sum is not finite, so that the check costs nothing otherwise.
$$;

grant execute on function ml._refuse_non_finite(ml.design) to insights_analyst, insights_admin, insights_worker;
