/*
 * Columns far from zero are centred near their medians, and very large or small ones are scaled by powers of two,
 * before they are multiplied: so the sums of squares lose no digits of x, cannot overflow or underflow (errors in SQL),
 * and integers stay integers, whose sums are exact. Without a constant column nothing is shifted, since the model would
 * change.
 */
create or replace function ml._design(
  source_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text,
  weights text default null,
  offsets text default null
)
returns ml.design
language plpgsql
as $$
declare
  v_numbers constant regtype[] := '{boolean, smallint, integer, bigint, real, double precision, numeric}';
  v_relation constant regclass := common.relation(source_table);
  v_alias constant text := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  v_groups constant text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_y constant text := common.expression(dependent_varname, v_relation);
  v_x constant text := common.expression(independent_varname, v_relation);
  v_y_type constant regtype := common.expression_type(dependent_varname, v_relation, 'dependent variable');
  v_inside constant text := substring(
    btrim(v_x, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$'
  );
  v_elements text[];
  v_element text;
  v_types regtype[] := '{}';
  v_x_type regtype;
  v_element_type regtype;
  v_array text;
  v_design ml.design;
begin
  perform ml._scalar_expression(dependent_varname, v_relation, 'dependent variable');
  -- array[a, b + c] is split into its elements, so that the sums are over plain expressions and no array is built per
  -- row. array[a] || array[b] matches the pattern, too, but its unbalanced brackets make split_expressions fail.
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    v_elements := null;
  end;
  if v_elements is not null then
    foreach v_element in array v_elements loop
      v_element_type := common.expression_type(v_element, v_relation, 'independent variable');
      if v_element_type <> all (v_numbers) then
        perform common.numeric_expression(v_element, v_relation, 'independent variable');
      end if;
      v_types := v_types || v_element_type;
    end loop;
    v_design.width := cardinality(v_elements);
  else
    if cardinality(common.split_expressions(v_x)) > 1 then
      perform common.refuse(
        'CF001',
        format('the independent variable "%s" is a list, not an array', left(independent_varname, 100)),
        format('Write array[%s].', left(independent_varname, 100))
      );
    end if;
    v_x_type := common.expression_type(independent_varname, v_relation, 'independent variable');
    if v_x_type = any (v_numbers) then
      return ml._design(source_table, dependent_varname, format('array[%s]', v_x), grouping_cols, weights, offsets);
    end if;
    select
      case
        when element.oid is not null then element.oid::regtype
        when type.typname in ('vector', 'halfvec') then 'real'::regtype
      end
    into v_element_type
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
    where type.oid = v_x_type;
    if v_element_type is null or v_element_type <> all (v_numbers) or v_element_type = 'boolean'::regtype then
      perform common.refuse(
        'CF001',
        format(
          'independent variable: "%s" is of type %s, not an array of numbers',
          left(independent_varname, 100),
          v_x_type
        ),
        'Write array[1, x1, x2], or name a column of type float8[].'
      );
    end if;
    v_array := format('((%s)::%s[])', v_x, v_element_type);
    v_types := array[v_element_type];
    v_design.width := (
      select probe.row_count
      from ml._sums(
        format(
          $statement$
          select null::text, true, cardinality(%1$s)::bigint, null::float8[]
          from %2$s as %3$s
          where %1$s is not null
          limit 1
          $statement$,
          v_array, v_relation, v_alias
        ),
        v_relation
      ) as probe
    );
    if v_design.width is null then
      perform common.refuse('CF004', format('"%s" has no row with an independent variable', v_relation),
        'Train on a table with rows.');
    end if;
  end if;
  if v_design.width > 250 or v_design.width = 0 then
    perform common.refuse('CF008', format('%s independent variables; 1 to 250 can be fitted', v_design.width),
      'Select fewer variables, or reduce them with ml.pca_train.');
  end if;

  v_design.weights := ml._scalar_expression(weights, v_relation, 'weights');
  if weights is not null then
    v_design.weights_type := common.expression_type(weights, v_relation, 'weights');
  end if;
  v_design.offsets := ml._scalar_expression(offsets, v_relation, 'offsets');
  if offsets is not null then
    v_design.offsets_type := common.expression_type(offsets, v_relation, 'offsets');
  end if;
  v_design.relation := v_relation;
  v_design.source := v_relation::text;
  v_design.alias := v_alias;
  v_design.y := v_y;
  v_design.y_type := v_y_type;
  v_design.x := coalesce(v_elements, array[v_array]);
  v_design.x_types := v_types;
  v_design.packed := v_array is not null;
  v_design.exact := not (v_types || v_y_type) && '{real, double precision}'::regtype[];
  v_design.groups := v_groups;
  v_design.literals := array(
    select case when v_elements[position] ~ '^[-+]?[0-9]+(\.[0-9]*)?$' then v_elements[position]::numeric end
    from generate_series(1, v_design.width) as position
    order by position
  );
  return ml._standardized(v_design);
end;
$$;

comment on function ml._design(text, text, text, text, text, text) is $$
Returns the design of a regression, after checking names, types and expressions.
Reads the first thousand rows to centre the columns.
Errors: CF001 (expression, type), CF002 (unknown; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too
many columns).
$$;

create or replace function ml._standardized(design ml.design)
returns ml.design
language plpgsql
as $$
declare
  v_design ml.design := design;
  v_active constant integer[] := array(
    select position
    from generate_series(1, design.width) as position
    where design.literals[position] is null
    order by position
  );
  v_count constant integer := cardinality(v_active);
  v_sample float8[];
  v_constant boolean := v_count < design.width;
  v_middle float8;
  v_spread float8;
begin
  v_design.active := v_active;
  v_design.candidates := '{}';
  v_design.shift := array_fill(0::float8, array[design.width]);
  v_design.scale := array_fill(1::float8, array[design.width]);
  select sample.sums, not sample.complete
  into v_sample, v_design.nulls
  from ml._sums(
    format(
      $statement$
      select null::text, not exists (select from (%2$s limit 1000) as head where not (%3$s)), count(*), array[%1$s]
      from (select * from (%2$s) as source where %3$s limit 1000) as head
      $statement$,
      (
        select string_agg(
          format(
            'percentile_disc(0.5) within group (order by %1$s), coalesce(stddev_pop(%1$s), 0), '
              || '(min(%1$s) = max(%1$s))::int',
            name
          ),
          ', ' order by nth
        )
        from unnest(
          '{y}'::text[] || (select array_agg('x' || position order by position) from unnest(v_active) as position)
        ) with ordinality as part (name, nth)
      ),
      ml._values(v_design, 'float8'),
      ml._complete(v_design)
    ),
    design.relation
  ) as sample;

  for i in 1..v_count loop
    if v_sample[3 * i + 3] = 1 and v_sample[3 * i + 1] not in (0, 'NaN', 'Infinity', '-Infinity') then
      v_design.candidates := v_design.candidates || v_active[i];
    end if;
  end loop;
  v_constant := v_constant or v_design.candidates <> '{}';
  for i in 0..v_count loop
    v_middle := v_sample[3 * i + 1];
    v_spread := v_sample[3 * i + 2];
    if v_middle is null or v_middle in ('NaN', 'Infinity', '-Infinity') or not v_constant then
      v_spread := greatest(v_spread, abs(v_middle));
      v_middle := 0;
    elsif abs(v_middle) <= 2 * v_spread then
      -- close to zero: centring would gain half a digit at the cost of two operations per row
      v_middle := 0;
    end if;
    v_spread := case
      when v_spread > 0 and v_spread < 'Infinity' and v_spread not between 1e-9 and 1e9
        then power(2::float8, -round(ln(v_spread) / ln(2::float8)))
      else 1
    end;
    if i = 0 then
      v_design.y_shift := v_middle;
      v_design.y_scale := v_spread;
    else
      v_design.shift[v_active[i]] := v_middle;
      v_design.scale[v_active[i]] := v_spread;
    end if;
  end loop;
  return v_design;
end;
$$;

comment on function ml._standardized(ml.design) is $$
Returns a design with shifts and scales, from the medians and standard deviations of the first thousand rows.
An approximation is enough, since the coefficients are transformed back exactly.
$$;

grant execute on function
  ml._design(text, text, text, text, text, text),
  ml._standardized(ml.design)
to insights_analyst, insights_admin, insights_worker;
