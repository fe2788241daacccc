create or replace function ml._margin_terms(x_design text, width integer)
returns setof ml.margin_term
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_terms constant text[] := string_to_array(x_design, ',');
  v_basis constant text := '^(?:(ir?)\.)?([A-Za-z_][A-Za-z0-9_]*)(?:\.([A-Za-z0-9_]+))?$';
  v_match text[];
  v_factor text;
  v_term text;
begin
  if length(x_design) > 100000 or cardinality(v_terms) <> width then
    perform common.refuse('CF001', format('x_design has %s terms, the model %s', cardinality(v_terms), width),
      'Give one term per coefficient, in the order of the independent variables.');
  end if;
  for place in 1..width loop
    v_term := regexp_replace(coalesce(v_terms[place], place::text), '\s', '', 'g');
    v_match := regexp_match(v_term, v_basis);
    if v_terms is null then
      return next (place, place::text, 1, place::text, 'c', null)::ml.margin_term;
    elsif v_match is not null and (v_match[1] is not null or v_match[3] is null) then
      return next (
        place, v_match[2], 1, v_match[2], coalesce(v_match[1], 'c'), v_match[3]
      )::ml.margin_term;
    else
      foreach v_factor in array string_to_array(v_term, '*') loop
        v_match := regexp_match(v_factor, '^([A-Za-z_][A-Za-z0-9_]*|[0-9]+(?:\.[0-9]*)?)(?:\^([1-9]))?$');
        if v_match is null then
          perform common.refuse('CF001', format('x_design: "%s" is not a term', left(v_term, 100)),
            'Terms are 1, name, i.name or i.name.category for an indicator, name^2, and products: name*other.');
        end if;
        return next (place, v_match[1], coalesce(v_match[2]::int, 1), null, null, null)::ml.margin_term;
      end loop;
    end if;
  end loop;
end;
$$;

comment on function ml._margin_terms(text, integer) is $$
Returns the factors of the terms of a design in MADlib's notation, one row per factor.
A term that consists of one variable defines it (`variable`, `kind`, `category`). Without a design, each term is a
variable whose name is its position. Error CF001: another number of terms, or not a term.
$$;

create or replace function ml._margin_factor(name text, power integer, replacement text)
returns text
language sql
stable
parallel safe
begin atomic
  select array_to_string(array_fill(coalesce(replacement, name), array[power]), ' * ');
end;

comment on function ml._margin_factor(text, integer, text) is $$
Returns the text of a power of a variable, or of what replaces it.
$$;

create or replace function ml.margins(
  model_table text,
  output_table text,
  x_design text default null,
  source_table text default null,
  marginal_vars text default null
)
returns void
language plpgsql
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_model constant regclass := common.relation(model_table);
  v_output constant text := common.output_table(output_table);
  v_coef float8[];
  v_covariance float8[];
  v_x text;
  v_source text;
  v_groups text;
  v_method text;
  v_weighted text;
  v_relation regclass;
  v_alias text;
  v_width integer;
  v_terms ml.margin_term[];
  v_names text[];
  v_wanted text[];
  v_name text;
  v_kind text;
  v_category text;
  v_columns text[] := '{}';
  v_layer text[] := '{}';
  v_effects text[] := '{}';
  v_gradients text[] := '{}';
  v_slopes text[];
  v_upper text[];
  v_lower text[];
  v_sums float8[];
  v_rows bigint;
  v_variance float8;
  v_margin float8[];
  v_errors float8[] := '{}';
begin
  begin
    execute format(
      'select model.coef, model.variance_covariance, summary.independent_varname, summary.source_table,
         summary.grouping_cols, summary.method,
         coalesce(to_jsonb(summary) ->> ''weights'', to_jsonb(summary) ->> ''offsets'')
       from %s as summary, %s as model
       limit 1',
      common.relation((
        select format('%I.%I', namespace.nspname, class.relname || '_summary')
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.oid = v_model
      )),
      v_model
    ) into v_coef, v_covariance, v_x, v_source, v_groups, v_method, v_weighted;
  exception when undefined_column then
    perform common.refuse('CF001', format('"%s" is not a model of ml.logregr_train', left(model_table, 100)),
      'Give the output table of ml.logregr_train.');
  end;
  if v_method is distinct from 'logregr' or v_coef is null or nullif(v_groups, '') is not null then
    perform common.refuse('CF001', format('"%s" is not a logistic model without groups', left(model_table, 100)),
      'Give the output table of ml.logregr_train; train one table per group.');
  end if;
  if v_weighted is not null then
    perform common.refuse('CF001', format('"%s" was trained with weights or offsets', left(model_table, 100)),
      'Marginal effects are computed for models without them.');
  end if;
  v_width := cardinality(v_coef);
  v_relation := common.relation(coalesce(margins.source_table, v_source));
  v_alias := (select quote_ident(relname) from pg_catalog.pg_class where oid = v_relation);
  perform common.expression_type(v_x, v_relation, 'independent variable');
  v_terms := array(select term from ml._margin_terms(nullif(btrim(x_design), ''), v_width) as term);
  v_names := array(
    select term.variable from unnest(v_terms) as term where term.variable is not null order by term.place
  );
  if (select count(distinct name) from unnest(v_names) as name) < cardinality(v_names) then
    perform common.refuse('CF001', 'x_design: a variable stands in two terms of its own',
      'Give each variable a name of its own.');
  end if;
  v_name := (
    select term.factor from unnest(v_terms) as term
    where term.factor ~ '^[A-Za-z_]' and term.factor <> all (v_names)
    limit 1
  );
  if v_name is not null then
    perform common.refuse('CF001', format('x_design: the variable "%s" has no term of its own', left(v_name, 100)),
      'A product or power needs its variables as terms of their own; otherwise its values are unknown.');
  end if;
  v_wanted := coalesce(
    array(select btrim(name) from unnest(string_to_array(marginal_vars, ',')) with ordinality as list (name, nth)
      order by nth),
    '{}'
  );
  v_name := (select name from unnest(v_wanted) as name where name <> all (v_names) limit 1);
  if v_name is not null then
    perform common.refuse('CF002', format('there is no variable "%s"', left(v_name, 100)),
      coalesce('Did you mean "' || common.nearest_name(v_name, v_names) || '"?', 'Name variables of x_design.'));
  end if;
  v_wanted := array(
    select term.variable from unnest(v_terms) as term
    where term.variable is not null and term.kind <> 'ir' and (v_wanted = '{}' or term.variable = any (v_wanted))
    order by term.place
  );
  if v_wanted = '{}' then
    perform common.refuse('CF001', 'there is no variable to compute', 'A reference indicator has no marginal effect.');
  end if;

  foreach v_name in array v_wanted loop
    select term.kind, term.category into v_kind, v_category from unnest(v_terms) as term where term.variable = v_name;
    if v_kind = 'c' then
      -- the derivative of each term by the variable
      select array_agg(coalesce(slope.expression, '0') order by slot.place)
      into v_slopes
      from generate_series(1, v_width) as slot (place)
      left join lateral (
        select string_agg(
          case
            when term.factor <> v_name then
              ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, null)
            when term.power > 1 then
              format('%s * %s', term.power, ml._margin_factor('x' || variable.place, term.power - 1, null))
            else '1'
          end, ' * '
        ) as expression
        from unnest(v_terms) as term
        left join unnest(v_terms) as variable on variable.variable = term.factor
        where term.place = slot.place
        having bool_or(term.factor = v_name)
      ) as slope on true;
      v_layer := v_layer || format('%s as slope_%s', (
        select string_agg(format('%L::float8 * (%s)', v_coef[place], v_slopes[place]), ' + ' order by place)
        from generate_series(1, v_width) as place
      ), array_position(v_wanted, v_name));
      v_effects := v_effects || format('avg(density * slope_%s)', array_position(v_wanted, v_name));
      v_gradients := v_gradients || array(
        select format('avg(density * ((1 - 2 * p) * x%1$s * slope_%2$s + (%3$s)))', place,
          array_position(v_wanted, v_name), v_slopes[place])
        from generate_series(1, v_width) as place
        order by place
      );
    else
      -- the difference between the indicator at 1 and at 0, or the reference of its category at 1
      select
        array_agg(coalesce(changed.upper_value, 'x' || slot.place) order by slot.place),
        array_agg(coalesce(changed.lower_value, 'x' || slot.place) order by slot.place)
      into v_upper, v_lower
      from generate_series(1, v_width) as slot (place)
      left join lateral (
        select
          string_agg(ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, case
            when term.factor = v_name then '1'
            when variable.kind <> 'c' and variable.category = v_category then '0'
          end), ' * ') as upper_value,
          string_agg(ml._margin_factor(coalesce('x' || variable.place, term.factor), term.power, case
            when term.factor = v_name then '0'
            when variable.kind = 'ir' and variable.category = v_category then '1'
            when variable.kind <> 'c' and variable.category = v_category then '0'
          end), ' * ') as lower_value
        from unnest(v_terms) as term
        left join unnest(v_terms) as variable on variable.variable = term.factor
        where term.place = slot.place
        having bool_or(term.factor = v_name or variable.kind <> 'c' and variable.category = v_category)
      ) as changed on true;
      v_layer := v_layer || array(
        select format('1 / (1 + exp(least(greatest(-(%s), -700), 700))) as %s_%s', (
          select string_agg(format('%L::float8 * (%s)', v_coef[place], side.terms[place]), ' + ' order by place)
          from generate_series(1, v_width) as place
        ), side.name, array_position(v_wanted, v_name))
        from (select v_upper as terms, 'upper' as name union all select v_lower, 'lower') as side
      );
      v_effects := v_effects || format('avg(upper_%1$s - lower_%1$s)', array_position(v_wanted, v_name));
      v_gradients := v_gradients || array(
        select format(
          'avg(upper_%1$s * (1 - upper_%1$s) * (%2$s) - lower_%1$s * (1 - lower_%1$s) * (%3$s))',
          array_position(v_wanted, v_name), v_upper[place], v_lower[place]
        )
        from generate_series(1, v_width) as place
        order by place
      );
    end if;
  end loop;

  select part.row_count, part.sums
  into v_rows, v_sums
  from ml._sums(
    format(
      'select null::text, true, count(*), array[%s, %s] from (%s) as row',
      array_to_string(v_effects, ', '),
      array_to_string(v_gradients, ', '),
      ml._layer(
        format('*, p * (1 - p) as density, %s', array_to_string(v_layer, ', ')),
        format('(%s) as scored', ml._layer(
          format('*, 1 / (1 + exp(least(greatest(-(%s), -700), 700))) as p', (
            select string_agg(format('%L::float8 * x%s', v_coef[place], place), ' + ' order by place)
            from generate_series(1, v_width) as place
          )),
          format('(%s) as spread', ml._layer(
            (select string_agg(format('x[%1$s] as x%1$s', place), ', ' order by place)
              from generate_series(1, v_width) as place),
            format('(select (%s)::float8[] as x from %s as %s) as source
              where cardinality(x) = %s and array_position(x, null) is null', v_x, v_relation, v_alias, v_width)
          ))
        ))
      )
    ),
    v_relation
  ) as part;
  if coalesce(v_rows, 0) = 0 then
    perform common.refuse('CF004', format('"%s" has no row without a null', v_relation), 'Give a table with rows.');
  elsif v_sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
    perform common.refuse('CF001', format('"%s" has a value that is not finite', v_relation),
      'Leave such rows out or fill them.');
  end if;

  v_margin := v_sums[1:cardinality(v_wanted)];
  for k in 1..cardinality(v_wanted) loop
    v_variance := 0;
    for i in 1..v_width loop
      for j in 1..v_width loop
        v_variance := v_variance + v_sums[cardinality(v_wanted) + (k - 1) * v_width + i] * v_covariance[i][j]
          * v_sums[cardinality(v_wanted) + (k - 1) * v_width + j];
      end loop;
    end loop;
    v_errors := v_errors || sqrt(greatest(v_variance, 0));
  end loop;
  execute format(
    $statement$
    create table %s as
    select array_agg(name order by nth) as variables, array_agg(margin order by nth) as margins,
      array_agg(std_err order by nth) as std_err, array_agg(margin / nullif(std_err, 0) order by nth) as z_stats,
      array_agg(case when std_err > 0 then ml._normal_p_value(margin / std_err) end order by nth) as p_values
    from unnest(%L::text[], %L::float8[], %L::float8[]) with ordinality as effect (name, margin, std_err, nth)
    $statement$,
    v_output, v_wanted, v_margin, v_errors
  );
end;
$$;

comment on function ml.margins(text, text, text, text, text) is $$
@behavior -*
Average marginal effects of a logistic regression, as MADlib: how the probability changes with each variable.
`model_table` is the output of ml.logregr_train without groups. `x_design` names the terms of its independent
variables in MADlib's notation, for products, powers and indicators: `1, i.color_blue.color, i.color_green.color, gpa,
gpa^2, color_blue*gpa`. A term `i.name` is an indicator, whose effect is the difference between 1 and 0;
`i.name.category` puts the others of its category to 0, and `ir.name.category`, the reference of the category, has no
effect of its own. Without `x_design`, each term is a variable, with its position as name. `source_table`: the rows to
average over, by default those of the training; rows with a null are left out. `marginal_vars`: the variables to
compute, by default all. Writes `output_table`, one row of arrays: variables, margins, std_err (delta method),
z_stats, p_values. Errors: CF001 (not such a model, not a term), CF002 (unknown table or variable), CF003, CF004,
CF005. Source: Greene, Econometric Analysis, 7th edition, 17.3; R's package margins, Stata's margins.
$$;

grant execute on function
  ml._margin_terms(text, integer),
  ml._margin_factor(text, integer, text),
  ml.margins(text, text, text, text, text)
to insights_analyst, insights_admin, insights_worker;
