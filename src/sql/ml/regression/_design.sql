/*
 * How a regression reads its rows. A design is a jsonb object that ml._design makes once and the statements are made from:
 *
 *   relation, alias  the source as the caller sees it, and the name its columns may be qualified with
 *   y, y_type        expression and type of the dependent variable
 *   x, x_types       expressions and types of the independent variables; in `array` mode one expression and its element type
 *   groups           the quoted grouping columns
 *   width            number of coefficients, k
 *   exact            whether every value is an integer or a decimal, so that numeric sums are exact sums of the data
 *   clusters         quoted columns whose values make the clusters of a sandwich, as the column `cluster`
 *   status           whether the event was seen at y (survival), as the column `status`
 *   where            a condition on the rows, made by this room (folds), never by the caller
 *   literals         per coefficient the number written in array[1, ...], else null
 *   candidates       positions of columns that did not vary in the first thousand rows, and could be an intercept
 *   active           positions of all columns but the literals
 *   shift, scale     per coefficient: d = (x - shift) * scale is what is multiplied and summed; y_shift and y_scale for y
 *
 * Columns far from zero are centred near their medians, and very large or small ones scaled by powers of two, before
 * anything is multiplied: sums of squares of d lose nothing that x carried, overflow and underflow (errors in SQL) are out
 * of reach, and integers stay integers, whose sums are exact. Without a constant column nothing is shifted, since the model
 * would change.
 */
create or replace function ml._caller_error(state text, message text, relation regclass)
returns void
language plpgsql
as $$
declare
  v_name text := coalesce(substring(message from '"([^"]*)"'), substring(message from 'column ([^ ]+) '));
begin
  if state = '42703' then
    perform common.refuse(
      'CF002',
      format('"%s" has no column "%s"', relation, left(v_name, 100)),
      coalesce(
        format('Did you mean "%s"?', common.nearest_name(v_name, common.columns(relation))),
        format('Its columns are %s.', array_to_string(common.columns(relation), ', '))
      )
    );
  elsif state = '42501' then
    perform common.refuse(
      'CF005',
      format('role "%s" may not read "%s": %s', current_user, relation, left(message, 100)),
      'Ask its owner for select.'
    );
  elsif state in ('22003', '22P02') and message ~* 'overflow|underflow|out of range' then
    perform common.refuse(
      'CF007',
      format('the values of "%s" are too large or too small to be squared: %s', relation, left(message, 100)),
      'Use other units, so that the columns lie between 1e-100 and 1e100.'
    );
  elsif left(state, 2) in ('22', '42', '0A', '54', '34') then
    perform common.refuse(
      'CF001',
      format('the expressions can not be evaluated over "%s": %s', relation, left(message, 100)),
      'Give columns, or one SQL expression over the columns of one row.'
    );
  end if;
  perform common.refuse(left(state, 5), left(message, 300));
end;
$$;

comment on function ml._caller_error(text, text, regclass) is $$
Raises what went wrong in a statement made of a caller's expressions as an error of class CF, naming what was meant.
$$;

create or replace function ml._sums(
  statement text,
  relation regclass
)
returns table (key text, complete boolean, row_count bigint, sums float8[])
language plpgsql
set jit to off
set extra_float_digits to 1
as $$
declare
  v_cursor refcursor;
  v_state text;
  v_message text;
begin
  -- A cursor takes one statement and no more, and opening it runs nothing; a cursor can't run in parallel, execute can.
  open v_cursor no scroll for execute statement;
  close v_cursor;
  return query execute statement;
exception when others then
  get stacked diagnostics v_state = returned_sqlstate, v_message = message_text;
  perform ml._caller_error(v_state, v_message, relation);
end;
$$;

comment on function ml._sums(text, regclass) is $$
Runs one generated statement of sums, as the caller and in parallel where the planner sees fit, and gives its rows.
Just-in-time compilation is off: for a hundred small aggregates it takes longer than it saves.
$$;

create or replace function ml._design(
  source_table text,
  dependent_varname text,
  independent_varname text,
  grouping_cols text
)
returns jsonb
language plpgsql
as $$
declare
  v_numbers constant regtype[] := '{boolean, smallint, integer, bigint, real, double precision, numeric}';
  v_relation constant regclass := common.relation(source_table);
  v_alias constant text := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  v_groups constant text[] := common.column_names(v_relation, grouping_cols, 'grouping columns');
  v_y_type constant regtype := common.expression_type(dependent_varname, v_relation, 'dependent variable');
  v_inside constant text := substring(btrim(independent_varname, E' \t\r\n') from '^(?:[aA][rR][rR][aA][yY])\s*\[(.*)\]$');
  v_elements text[];
  v_element text;
  v_types regtype[] := '{}';
  v_x_type regtype;
  v_element_type regtype;
  v_array text;
  v_width integer;
begin
  if cardinality(common.split_expressions(dependent_varname)) > 1 then
    perform common.refuse(
      'CF001',
      format('the dependent variable "%s" is more than one expression', left(dependent_varname, 100)),
      'Name one column, or one expression.'
    );
  end if;
  perform common.numeric_expression(dependent_varname, v_relation, 'dependent variable');
  -- array[a, b + c] is taken apart, so that the sums are over plain expressions and no array is built a million times;
  -- array[a] || array[b] only looks like one, which its brackets give away
  begin
    v_elements := common.split_expressions(v_inside);
  exception when sqlstate 'CF001' then
    v_elements := null;
  end;
  if v_elements is not null then
    foreach v_element in array v_elements loop
      perform common.numeric_expression(v_element, v_relation, 'independent variable');
      v_types := v_types || common.expression_type(v_element, v_relation, 'independent variable');
    end loop;
    v_width := cardinality(v_elements);
  else
    if cardinality(common.split_expressions(independent_varname)) > 1 then
      perform common.refuse(
        'CF001',
        format('the independent variable "%s" is a list, an array is due', left(independent_varname, 100)),
        format('Write array[%s].', left(independent_varname, 100))
      );
    end if;
    v_x_type := common.expression_type(independent_varname, v_relation, 'independent variable');
    if v_x_type = any (v_numbers) then
      return ml._design(source_table, dependent_varname, format('array[%s]', independent_varname), grouping_cols);
    end if;
    select case when element.oid is not null then element.oid::regtype when type.typname in ('vector', 'halfvec') then 'real'::regtype end
    into v_element_type
    from pg_catalog.pg_type as type
    left join pg_catalog.pg_type as element on element.oid = type.typelem and type.typcategory = 'A'
    where type.oid = v_x_type;
    if v_element_type is null or v_element_type <> all (v_numbers) or v_element_type = 'boolean'::regtype then
      perform common.refuse(
        'CF001',
        format(
          'independent variable: "%s" is of type %s, an array of numbers is due',
          left(independent_varname, 100),
          v_x_type
        ),
        'Write array[1, x1, x2], or name a column of type float8[].'
      );
    end if;
    v_array := format('((%s)::%s[])', independent_varname, v_element_type);
    v_types := array[v_element_type];
    v_width := (
      select probe.row_count
      from ml._sums(
        format(
          'select null::text, true, cardinality(%1$s)::bigint, null::float8[] from %2$s as %3$s where %1$s is not null limit 1',
          v_array, v_relation, v_alias
        ),
        v_relation
      ) as probe
    );
    if v_width is null then
      perform common.refuse('CF004', format('"%s" has no row with an independent variable', v_relation),
        'Train on a table with rows.');
    end if;
  end if;
  if v_width > 250 or v_width = 0 then
    perform common.refuse('CF008', format('%s independent variables; 1 to 250 can be fitted', v_width),
      'Choose some, or project them first with ml.pca_train.');
  end if;

  return ml._standardized(jsonb_build_object(
    'relation', v_relation::text,
    'alias', v_alias,
    'y', dependent_varname,
    'y_type', v_y_type::text,
    'x', to_jsonb(coalesce(v_elements, array[v_array])),
    'x_types', to_jsonb(v_types::text[]),
    'array', v_array is not null,
    'exact', 'real'::regtype <> all (v_types || v_y_type) and 'double precision'::regtype <> all (v_types || v_y_type),
    'groups', to_jsonb(v_groups),
    'width', v_width,
    'literals', (
      select jsonb_agg(case when v_elements[position] ~ '^[-+]?[0-9]+(\.[0-9]*)?$' then v_elements[position]::numeric end order by position)
      from generate_series(1, v_width) as position
    )
  ));
end;
$$;

comment on function ml._design(text, text, text, text) is $$
Reads what a regression is asked to fit: checks names, types and expressions, and looks at a first thousand rows to centre them.
Errors: CF001 (expression, type), CF002 (unknown; names the nearest), CF004 (no rows), CF005 (not readable), CF008 (too many columns).
$$;

create or replace function ml._cast(expression text, from_type text, to_type text)
returns text
language sql
immutable
parallel safe
begin atomic
  -- real and double precision become numeric by way of their shortest text, up to 17 digits, where the direct cast keeps 15
  select format(
    case
      when from_type = 'boolean' then '(%s)::int::%s'
      when to_type = 'numeric' and from_type in ('real', 'double precision') then '(%s)::text::%s'
      else '(%s)::%s'
    end,
    expression, to_type
  );
end;

comment on function ml._cast(text, text, text) is $$An expression of a known type, cast to float8 or numeric.$$;

create or replace function ml._values(design jsonb, type text)
returns text
language sql
stable
begin atomic
  select format(
    'select %s%s%s%s as y%s from %s as %s%s',
    coalesce((
      select string_agg(format('%s as g%s, ', name, position), '' order by position)
      from jsonb_array_elements_text(design -> 'groups') with ordinality as part (name, position)
    ), ''),
    'row(' || (select string_agg(name, ', ' order by nth)
      from jsonb_array_elements_text(design -> 'clusters') with ordinality as part (name, nth)) || ')::text as cluster, ',
    '(' || (design ->> 'status') || ')::int::float8 as status, ',
    ml._cast(design ->> 'y', design ->> 'y_type', type),
    (
      select string_agg(
        case
          when not (design ->> 'array')::boolean then
            format(', %s as x%s', ml._cast(design -> 'x' ->> position - 1, design -> 'x_types' ->> position - 1, type), position)
          -- a row of another length becomes NaN, which stops the training and is looked up then
          when position = 1 then format(
            ', case when cardinality(%1$s) <> %2$s then ''NaN'' else %3$s end as x1',
            design -> 'x' ->> 0, design ->> 'width', ml._cast(format('%s[1]', design -> 'x' ->> 0), design -> 'x_types' ->> 0, type)
          )
          else format(', %s as x%s', ml._cast(format('%s[%s]', design -> 'x' ->> 0, position), design -> 'x_types' ->> 0, type), position)
        end, '' order by position
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
The select that evaluates a design's expressions row by row: g1 …, y, x1 … (literals left out), as float8 or numeric.
$$;

create or replace function ml._columns_of(design jsonb, prefix text, template text default '%s', separator text default ', ')
returns text
language sql
stable
begin atomic
  select coalesce(string_agg(format(template, prefix || position), separator order by position), '')
  from jsonb_array_elements_text(design -> 'active') with ordinality as active (value, nth), lateral (select value::int) as part (position);
end;

comment on function ml._columns_of(jsonb, text, text, text) is $$Text made of every active column of a design, such as `, d2, d3`.$$;

create or replace function ml._standardized(design jsonb)
returns jsonb
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active integer[] := array(
    select position from generate_series(1, v_width) as position where design -> 'literals' -> position - 1 = 'null' order by position
  );
  v_count constant integer := cardinality(v_active);
  v_design jsonb := design || jsonb_build_object('active', to_jsonb(v_active));
  v_sample float8[];
  v_shift float8[] := array_fill(0::float8, array[v_width]);
  v_scale float8[] := array_fill(1::float8, array[v_width]);
  v_candidates integer[] := '{}';
  v_constant boolean := design -> 'literals' @? '$[*] ? (@ != null)';
  v_middle float8;
  v_spread float8;
begin
  v_sample := (
    select sample.sums
    from ml._sums(
      format(
        'select null::text, true, count(*), array[%s] from (select * from (%s) as source where num_nulls(y%s) = 0 limit 1000) as head',
        (
          select string_agg(
            format('percentile_disc(0.5) within group (order by %1$s), coalesce(stddev_pop(%1$s), 0), (min(%1$s) = max(%1$s))::int', name),
            ', ' order by nth
          )
          from unnest('{y}'::text[] || (select array_agg('x' || position order by position) from unnest(v_active) as position))
            with ordinality as part (name, nth)
        ),
        ml._values(v_design, 'float8'),
        ml._columns_of(v_design, 'x', ', %s', '')
      ),
      (design ->> 'relation')::regclass
    ) as sample
  );

  for i in 1..v_count loop
    if v_sample[3 * i + 3] = 1 and v_sample[3 * i + 1] not in (0, 'NaN', 'Infinity', '-Infinity') then
      v_candidates := v_candidates || v_active[i];
    end if;
  end loop;
  v_constant := v_constant or v_candidates <> '{}';
  for i in 0..v_count loop
    v_middle := v_sample[3 * i + 1];
    v_spread := v_sample[3 * i + 2];
    if v_middle is null or v_middle in ('NaN', 'Infinity', '-Infinity') or not v_constant then
      v_spread := greatest(v_spread, abs(v_middle));
      v_middle := 0;
    elsif abs(v_middle) <= 2 * v_spread then
      -- near enough to its mean: half a digit is not worth two operations a row
      v_middle := 0;
    end if;
    v_spread := case
      when v_spread > 0 and v_spread < 'Infinity' and v_spread not between 1e-9 and 1e9
        then power(2::float8, -round(ln(v_spread) / ln(2::float8)))
      else 1
    end;
    if i = 0 then
      v_design := v_design || jsonb_build_object('y_shift', v_middle, 'y_scale', v_spread);
    else
      v_shift[v_active[i]] := v_middle;
      v_scale[v_active[i]] := v_spread;
    end if;
  end loop;
  return v_design || jsonb_build_object(
    'shift', to_jsonb(v_shift), 'scale', to_jsonb(v_scale), 'candidates', to_jsonb(v_candidates)
  );
end;
$$;

comment on function ml._standardized(jsonb) is $$
Adds to a design where its columns lie and how far they spread, from the medians and deviations of a first thousand rows.
Approximate is enough: what is subtracted is put back exactly.
$$;

create or replace function ml._centred(name text, shift float8, scale float8)
returns text
language sql
immutable
parallel safe
begin atomic
  select case when shift = 0 then name else format('(%s - %L::float8)', name, shift) end
    || case when scale = 1 then '' else format(' * %L::float8', scale) end;
end;

comment on function ml._centred(text, float8, float8) is $$The text of (name - shift) * scale, without what does nothing.$$;

create or replace function ml._layer(columns text, source text)
returns text
language sql
immutable
parallel safe
begin atomic
  -- The planner pastes the expressions of a subquery into whatever uses them, so eta would be computed afresh in each of a
  -- hundred sums. It leaves a subquery alone that calls a volatile function; pg_is_in_recovery is one that is parallel safe
  -- and costs no more than a variable. (`offset 0` and `materialized` forbid a parallel scan.)
  select format('select %s, pg_is_in_recovery() as layer from %s', columns, source);
end;

comment on function ml._layer(text, text) is $$
A select whose columns are computed once a row, however often they are used above it, and still in parallel.
$$;

create or replace function ml._rows(design jsonb)
returns text
language sql
stable
begin atomic
  select case when columns.plain then 'select ' || columns.list || ' from ' || columns.source else ml._layer(columns.list, columns.source) end
  from (
    select
      format('%s%s%s as key, %s as y%s, num_nulls(y%s%s) = 0 as complete',
        coalesce(grouped.columns || ', ', ''),
        case when design ? 'clusters' then 'cluster, ' else '' end || case when design ? 'status' then 'status, ' else '' end,
        coalesce('row(' || grouped.columns || ')::text', 'null::text'),
        ml._centred('y', (design ->> 'y_shift')::float8, (design ->> 'y_scale')::float8),
        coalesce(active.columns, ''),
        ml._columns_of(design, 'x', ', %s', ''),
        case when design ? 'status' then ', status' else '' end
      ) as list,
      format('(%s) as source', ml._values(design, 'float8')) as source,
      -- plain columns may be pasted: nothing is computed twice then, or (settled, see ml._settled) only by the one layer above
      not (design ->> 'array')::boolean
        and coalesce(active.named, true)
        and (
          design ? 'spread'
          or (design -> 'y_shift', design -> 'y_scale', design ->> 'y_type') = ('0', '1', 'double precision') and coalesce(active.plain, true)
        ) as plain
    from (
      select string_agg('g' || nth, ', ' order by nth) as columns
      from jsonb_array_elements(design -> 'groups') with ordinality as part (name, nth)
    ) as grouped
    cross join (
      select
        string_agg(
          format(', %s as d%s', ml._centred('x' || place, (design -> 'shift' ->> place - 1)::float8, (design -> 'scale' ->> place - 1)::float8), place),
          '' order by nth
        ) as columns,
        bool_and(
          (design -> 'shift' -> place - 1, design -> 'scale' -> place - 1, design -> 'x_types' ->> place - 1) = ('0', '1', 'double precision')
        ) as plain,
        bool_and(design -> 'x' ->> place - 1 ~ '^[a-zA-Z_0-9.]+$') as named
      from jsonb_array_elements_text(design -> 'active') with ordinality as list (value, nth), lateral (select value::int) as part (place)
    ) as active
  ) as columns;
end;

comment on function ml._rows(jsonb) is $$
The select that centres and scales a design's rows: g1 …, key (the group, as text), y, d1 …, complete (no null among them).
$$;

create or replace function ml._refuse_non_finite(design jsonb)
returns void
language plpgsql
as $$
declare
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_bare constant jsonb := design - 'where' || '{"groups": []}';
  v_key text;
  v_row text;
begin
  v_key := (
    select string_agg(format('%L || %I::text', attribute.attname || ' = ', attribute.attname), ' || '', '' || ' order by part.position)
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
        select key || case when width <> %s then format(' with %%s independent variables instead of %s', width) else '' end, true, 1::bigint, null::float8[]
        from (select %s as key, %s as width, source.* from %s as %s cross join lateral (%s) as source) as source
        where num_nulls(y%s) = 0 and (%s)
        limit 1
        $statement$,
        design ->> 'width',
        design ->> 'width',
        coalesce(v_key, format('left(%s::text, 200)', design ->> 'alias')),
        case when (design ->> 'array')::boolean then format('cardinality(%s)', design -> 'x' ->> 0) else design ->> 'width' end,
        design ->> 'relation',
        design ->> 'alias',
        -- the same expressions, over the row at hand
        left(ml._values(v_bare, 'float8'), -length(format(' from %s as %s', design ->> 'relation', design ->> 'alias'))),
        ml._columns_of(design, 'x', ', %s', ''),
        'y in (''NaN'', ''Infinity'', ''-Infinity'')' || ml._columns_of(design, 'x', ' or %s in (''NaN'', ''Infinity'', ''-Infinity'')', '')
      ),
      v_relation
    ) as found
  );
  perform common.refuse(
    'CF001',
    case
      when v_row is null then format('a sum over "%s" is not finite', v_relation)
      when v_row ~ 'instead of' then format('row (%s) of "%s"', v_row, v_relation)
      else format('row (%s) of "%s" holds NaN or infinity', v_row, v_relation)
    end,
    'Only finite numbers can be fitted; make the others null to have their rows skipped.'
  );
end;
$$;

comment on function ml._refuse_non_finite(jsonb) is $$
Raises CF001 and names the row, by its primary key where it has one, that holds NaN, infinity or an array of another length.
Called when a sum came out non-finite, so that the ordinary training pays nothing for the check.
$$;

create or replace function ml._unscaled(
  beta float8[],
  covariance float8[],
  design jsonb,
  intercept integer,
  intercept_value float8,
  out coef float8[],
  out vcov float8[]
)
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_scale constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'scale') as value);
  v_shift constant float8[] := array(select value::float8 from jsonb_array_elements_text(design -> 'shift') as value);
  v_weight float8[] := array_fill(0::float8, array[v_width]);
  v_row float8[] := array_fill(0::float8, array[v_width]);
  v_sum float8;
begin
  -- x = shift + d / scale for a column, and the constant column stands for 1: coef = T beta, and its covariance T C T'
  coef := beta;
  for j in 1..v_width loop
    coef[j] := beta[j] * v_scale[j];
    v_weight[j] := v_scale[j] * v_shift[j];
  end loop;
  if intercept is not null then
    v_weight[intercept] := 0;
    v_sum := beta[intercept];
    for j in 1..v_width loop
      v_sum := v_sum - beta[j] * v_weight[j];
    end loop;
    coef[intercept] := v_sum / intercept_value;
  end if;
  if covariance is null then
    return;
  end if;
  vcov := covariance;
  if intercept is not null then
    for j in 1..v_width loop
      v_sum := covariance[intercept][j];
      for m in 1..v_width loop
        v_sum := v_sum - v_weight[m] * covariance[m][j];
      end loop;
      v_row[j] := v_sum / intercept_value;
    end loop;
    v_sum := v_row[intercept];
    for m in 1..v_width loop
      v_sum := v_sum - v_weight[m] * v_row[m];
    end loop;
  end if;
  for i in 1..v_width loop
    for j in 1..v_width loop
      if i = intercept and j = intercept then
        vcov[i][j] := v_sum / intercept_value;
      elsif i = intercept then
        vcov[i][j] := v_row[j] * v_scale[j];
      elsif j = intercept then
        vcov[i][j] := v_row[i] * v_scale[i];
      else
        vcov[i][j] := covariance[i][j] * v_scale[i] * v_scale[j];
      end if;
    end loop;
  end loop;
end
$$;

comment on function ml._unscaled(float8[], float8[], jsonb, integer, float8) is $$
Coefficients and their covariance in the caller's units.
They are made from those of the centred and scaled columns, in which the
constant column of value `intercept_value` at position `intercept` (null without one) counts as 1.
$$;

create or replace function ml._label(design jsonb, place integer)
returns text
language sql
stable
begin atomic
  select case
    when (design ->> 'array')::boolean then format('%s (element %s)', design -> 'x' ->> 0, place)
    else format('"%s"', design -> 'x' ->> place - 1)
  end;
end;

comment on function ml._label(jsonb, integer) is $$How a message calls the independent variable at a position.$$;

create or replace function ml._publish(
  out_table text,
  design jsonb,
  columns text,
  results jsonb,
  summary jsonb,
  summary_columns text
)
returns void
language plpgsql
as $$
declare
  v_groups constant text[] := array(select jsonb_array_elements_text(design -> 'groups'));
  v_names text := (select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
    from unnest(string_to_array(columns, ',')) with ordinality as column_definition (part, position));
begin
  if v_groups = '{}' then
    execute format('create table %s as select %s from jsonb_to_recordset(%L) as result (%s)', out_table, v_names, results, columns);
  else
    execute format(
      $statement$
      create table %1$s as
      select %2$s, %3$s
      from (select %2$s, row(%2$s)::text as key from %4$s as %5$s group by %2$s) as source
      join jsonb_to_recordset(%6$L) as result (key text, %7$s) using (key)
      $statement$,
      out_table, array_to_string(v_groups, ', '), v_names, design ->> 'relation', design ->> 'alias', results, columns
    );
  end if;
  execute format(
    'create table %s as select %s from jsonb_to_record(%L) as summary (%s)',
    common.companion_table(out_table, '_summary'),
    (select string_agg(quote_ident(split_part(btrim(part), ' ', 1)), ', ' order by position)
      from unnest(string_to_array(summary_columns, ',')) with ordinality as column_definition (part, position)),
    summary, summary_columns
  );
exception when duplicate_column or ambiguous_column then
  perform common.refuse(
    'CF001',
    format('a grouping column of "%s" has the name of an output column', left(design ->> 'relation', 100)),
    format('Rename it in a view; the output columns are %s.', left(v_names, 500))
  );
end;
$$;

comment on function ml._publish(text, jsonb, text, jsonb, jsonb, text) is $$
Writes a model's output table, one row a group with the grouping columns in their own types, and its `_summary`.
`results` is an array of objects, with the group's `key` when there are groups; `columns` their names and types.
$$;

grant execute on function
  ml._caller_error(text, text, regclass),
  ml._sums(text, regclass),
  ml._design(text, text, text, text),
  ml._cast(text, text, text),
  ml._values(jsonb, text),
  ml._columns_of(jsonb, text, text, text),
  ml._standardized(jsonb),
  ml._centred(text, float8, float8),
  ml._layer(text, text),
  ml._rows(jsonb),
  ml._refuse_non_finite(jsonb),
  ml._unscaled(float8[], float8[], jsonb, integer, float8),
  ml._label(jsonb, integer),
  ml._publish(text, jsonb, text, jsonb, jsonb, text)
to insights_admin, insights_worker;
