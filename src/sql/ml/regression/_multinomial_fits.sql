create or replace function ml._multinomial_statement(
  design jsonb,
  categories integer[],
  keys text[],
  beta float8[],
  variables integer[]
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_columns constant text := (
    select coalesce(string_agg(', d' || variable, '' order by nth), '')
    from unnest(variables) with ordinality as list (variable, nth)
    where variable > 0
  );
  v_all constant text := (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c);
  -- the coefficient of variable 2 for the third category is b3002
  v_coefficients constant integer[] := array(
    select 1000 * c + variable
    from generate_series(1, v_count) as c
    cross join unnest(variables) with ordinality as list (variable, nth)
    order by c, nth
  );
  v_source text;
begin
  v_source := format('(%s) as first', ml._layer(
    format('fit.nth, row.y%s, %s', replace(v_columns, ', ', ', row.'), (
      select string_agg(format('%s as eta%s', (
        select string_agg(
          format(
            case when variable = 0 then 'fit.b%1$s' else 'fit.b%1$s * row.d%2$s' end,
            1000 * c + variable,
            variable
          ),
          ' + ' order by nth
        )
        from unnest(variables) with ordinality as list (variable, nth)
      ), c), ', ' order by c)
      from generate_series(1, v_count) as c
    )),
    format(
      '(select * from (%s) as row where complete) as row %s',
      ml._rows(design),
      ml._model_of_group(design, keys, beta, v_coefficients)
    )
  ));
  -- the largest is subtracted before exp, so that nothing overflows
  v_source := format('(%s) as second', ml._layer(
    format('nth, y%s, %s, greatest(0, %s) as top', v_columns, v_all, v_all),
    v_source
  ));
  v_source := format('(%s) as third', ml._layer(
    format(
      'nth, y%s, %s, top, exp(greatest(-top, -200)) as e0, %s',
      v_columns,
      v_all,
      (
        select string_agg(format('exp(greatest(eta%s - top, -200)) as e%s', c, c), ', ' order by c)
        from generate_series(1, v_count) as c
      )
    ),
    v_source
  ));
  v_source := format('(%s) as fourth', ml._layer(
    format('nth, y%s, %s, top, e0 + %s as total, %s', v_columns, v_all,
      (select string_agg('e' || c, ' + ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ', ' order by c) from generate_series(1, v_count) as c)),
    v_source
  ));
  v_source := format('(%s) as fifth', ml._layer(
    format(
      'nth, y%s, case %s else 0 end - top - ln(total) as likelihood, %s',
      v_columns,
      (
        select string_agg(format('when y = %s then eta%s', category, c), ' ' order by c)
        from unnest(categories) with ordinality as list (category, c)
      ),
      (select string_agg(format('e%s / total as p%s', c, c), ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
  v_source := format('(%s) as sixth', ml._layer(
    format(
      'nth, likelihood%s, %s, %s',
      v_columns,
      (
        select string_agg(
          format('case when y = %s then 1 - p%s else -p%s end as s%s', category, c, c, c),
          ', ' order by c
        )
        from unnest(categories) with ordinality as list (category, c)
      ),
      (
        select string_agg(
          format(
            case
              when a = b then 'p%1$s * (1 - p%1$s) as w%1$s_%2$s'
              else '-p%1$s * p%2$s as w%1$s_%2$s'
            end,
            a,
            b
          ),
          ', ' order by a, b
        )
        from generate_series(1, v_count) as a
        cross join generate_series(1, v_count) as b
        where b >= a
      )
    ),
    v_source
  ));
  return format(
    'select %s, true, count(*), array[sum(likelihood), %s, %s] from %s%s',
    case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end,
    (
      select string_agg(
        format('sum(s%s%s)', c, case when variable = 0 then '' else ' * d' || variable end),
        ', ' order by c, nth
      )
      from generate_series(1, v_count) as c
      cross join unnest(variables) with ordinality as list (variable, nth)
    ),
    (
      select string_agg(
        format('sum(w%s_%s%s%s)', a, b, ' * d' || nullif(i.variable, 0), ' * d' || nullif(j.variable, 0)),
        ', ' order by a, b, i.nth, j.nth
      )
      from generate_series(1, v_count) as a
      cross join generate_series(1, v_count) as b
      cross join unnest(variables) with ordinality as i (variable, nth)
      cross join unnest(variables) with ordinality as j (variable, nth)
      where b >= a
        and j.nth >= i.nth
    ),
    v_source,
    case when design -> 'groups' = '[]' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._multinomial_statement(jsonb, integer[], text[], float8[], integer[]) is $$
Returns the text of the statement for one Newton step of multinomial logistic regression.
By group: the log likelihood, the score, and the upper triangles of the information by pairs of categories. `categories`
are all except the reference; `beta` contains their coefficients one category after another, group by group.
$$;

create or replace function ml._multinomial_categories(
  settled jsonb,
  ref_category integer,
  out categories integer[],
  out counts jsonb
)
language plpgsql
as $$
declare
  v_part record;
begin
  categories := '{}';
  counts := '{}';
  for v_part in
    select coalesce(part.key, '') as key, part.sums[1] as category
    from ml._sums(
      format(
        'select key, true, count(*), array[y] from (%s) as row where complete group by key, y',
        ml._rows(settled)
      ),
      (settled ->> 'relation')::regclass
    ) as part
    order by part.sums[1]
  loop
    if v_part.category <> round(v_part.category) or abs(v_part.category) > 2147483647 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which is not an integer',
          left(settled ->> 'y', 100),
          v_part.category
        ),
        'Number the categories 0, 1, 2, …'
      );
    end if;
    if not v_part.category::integer = any (categories) then
      categories := categories || v_part.category::integer;
      if cardinality(categories) > 100 then
        perform common.refuse(
          'CF008',
          format('the dependent variable "%s" has more than 100 categories', left(settled ->> 'y', 100)),
          'Combine rare categories, or use a regression for numbers.'
        );
      end if;
    end if;
    counts := counts || jsonb_build_object(v_part.key, coalesce((counts ->> v_part.key)::int, 0) + 1);
  end loop;
  if categories <> '{}' and cardinality(categories) > 1 and not ref_category = any (categories) then
    perform common.refuse(
      'CF002',
      format('"%s" never holds the reference category %s', left(settled ->> 'y', 100), ref_category),
      format('Its categories are %s.', array_to_string(categories, ', '))
    );
  end if;
end;
$$;

comment on function ml._multinomial_categories(jsonb, integer) is $$
Returns the categories of a settled design in ascending order, and by group key the number of its categories.
Errors: CF001 (not an integer), CF002 (the reference category does not occur), CF008 (more than 100 categories).
$$;

create or replace function ml._multinomial_fits(
  design jsonb,
  ref_category integer,
  max_iter integer,
  tolerance float8,
  out settled jsonb,
  out categories integer[],
  out key text,
  out row_count bigint,
  out skipped bigint,
  out log_likelihood float8,
  out beta float8[],
  out inverse float8[],
  out iterations integer,
  out converged boolean,
  out failure text
)
returns setof record
language plpgsql
as $$
declare
  v_first constant record := ml._settled(design);
  v_groups constant integer := cardinality(v_first.keys);
  v_relation constant regclass := (design ->> 'relation')::regclass;
  v_intercept constant integer := (v_first.settled ->> 'intercept')::int;
  v_variables constant integer[] := ml._variables(v_first.settled);
  v_spread constant float8[] := array(select jsonb_array_elements_text(v_first.settled -> 'spread')::float8);
  v_size constant integer := cardinality(v_variables);
  v_found integer[];
  v_present jsonb;
  v_categories integer[];
  v_count integer;
  v_all integer;
  v_part record;
  v_living integer[];
  v_beta float8[];
  v_before float8[];
  v_likelihood float8[] := array_fill('-Infinity'::float8, array[v_groups]);
  v_halvings integer[] := array_fill(0, array[v_groups]);
  v_iterations integer[] := array_fill(0, array[v_groups]);
  v_done boolean[] := array_fill(false, array[v_groups]);
  v_good boolean[] := array_fill(false, array[v_groups]);
  v_failure text[] := array_fill(v_first.failure, array[v_groups]);
  v_inverse jsonb[] := array_fill(null::jsonb, array[v_groups]);
  v_matrix float8[];
  v_solved record;
  v_g integer;
  v_at integer;
  v_base integer;
  v_value float8;
  v_gain float8;
  v_farthest float8;
  v_column integer;
begin
  select present.categories, present.counts
  into v_found, v_present
  from ml._multinomial_categories(v_first.settled, ref_category) as present;
  v_categories := array_remove(v_found, ref_category);
  v_count := cardinality(v_categories);
  v_all := v_size * v_count;
  if v_all > 120 then
    perform common.refuse('CF008', format('%s coefficients: %s categories of %s columns', v_all, v_count, v_size),
      'At most 120 can be fitted; combine rare categories.');
  end if;
  for g in 1..v_groups loop
    v_failure[g] := coalesce(v_failure[g], case
      when v_first.row_counts[g] = 0 then 'no row without a null'
      when cardinality(v_found) < 2 then 'it holds one class only, ' || v_found[1]
      when (v_present ->> v_first.keys[g])::int < cardinality(v_found) then
        format('it holds %s of the %s categories', v_present ->> v_first.keys[g], cardinality(v_found))
      when v_first.row_counts[g] < v_all then
        format('%s complete rows for %s coefficients', v_first.row_counts[g], v_all)
    end);
    v_done[g] := v_failure[g] is not null;
  end loop;
  v_beta := array_fill(0::float8, array[greatest(v_groups * v_all, 1)]);
  v_before := v_beta;

  for iteration in 1..max_iter loop
    v_living := array(select g from generate_series(1, v_groups) as g where not v_done[g]);
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as g, part.sums
      from ml._sums(
        ml._multinomial_statement(
          v_first.settled,
          v_categories,
          array(select v_first.keys[g] from unnest(v_living) with ordinality as living (g, nth) order by nth),
          array(
            select v_beta[(g - 1) * v_all + j]
            from unnest(v_living) with ordinality as living (g, nth)
            cross join generate_series(1, v_all) as j
            order by nth, j
          ),
          v_variables
        ),
        v_relation
      ) as part
    loop
      v_g := v_part.g;
      v_base := (v_g - 1) * v_all;
      v_iterations[v_g] := iteration;
      if v_part.sums[1] < v_likelihood[v_g] - 1e-10 * abs(v_likelihood[v_g]) then
        v_halvings[v_g] := v_halvings[v_g] + 1;
        v_done[v_g] := v_halvings[v_g] > 30;
        for j in 1..v_all loop
          v_beta[v_base + j] := (v_beta[v_base + j] + v_before[v_base + j]) / 2;
        end loop;
        continue;
      end if;
      v_likelihood[v_g] := v_part.sums[1];
      v_halvings[v_g] := 0;
      v_matrix := array_fill(0::float8, array[v_all, v_all]);
      v_at := 1 + v_all;
      for a in 1..v_count loop
        for b in a..v_count loop
          for i in 1..v_size loop
            for j in i..v_size loop
              v_at := v_at + 1;
              v_matrix[(a - 1) * v_size + i][(b - 1) * v_size + j] := v_part.sums[v_at];
              v_matrix[(a - 1) * v_size + j][(b - 1) * v_size + i] := v_part.sums[v_at];
              v_matrix[(b - 1) * v_size + j][(a - 1) * v_size + i] := v_part.sums[v_at];
              v_matrix[(b - 1) * v_size + i][(a - 1) * v_size + j] := v_part.sums[v_at];
            end loop;
          end loop;
        end loop;
      end loop;
      v_solved := ml._scaled_inverse(v_matrix, case when iteration = 1 then 1e-11 else 1e-14 end);
      if v_solved.dependent is not null then
        v_at := v_variables[(v_solved.dependent - 1) % v_size + 1];
        v_column := case when v_at = 0 then v_intercept else v_at end;
        v_done[v_g] := true;
        v_failure[v_g] := case
          when iteration = 1 then
            format('column %s is a linear combination of the columns before it', ml._label(design, v_column))
          else ml._separation(design, v_column)
        end;
        continue;
      end if;
      v_gain := 0;
      v_farthest := 0;
      for i in 1..v_all loop
        v_value := 0;
        for j in 1..v_all loop
          v_value := v_value + v_solved.inverse[i][j] * v_part.sums[1 + j];
        end loop;
        v_before[v_base + i] := v_beta[v_base + i];
        v_beta[v_base + i] := v_beta[v_base + i] + v_value;
        v_gain := v_gain + v_value * v_part.sums[1 + i];
        v_at := v_variables[(i - 1) % v_size + 1];
        if v_at > 0 and abs(v_value) * v_spread[v_at] > v_farthest then
          v_farthest := abs(v_value) * v_spread[v_at];
          v_column := v_at;
        end if;
      end loop;
      v_inverse[v_g] := to_jsonb(v_solved.inverse);
      if v_farthest > 0.3
        and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15)
      then
        v_done[v_g] := true;
        v_failure[v_g] := ml._separation(design, v_column);
      elsif v_gain <= (tolerance / 100) ^ 2 then
        v_done[v_g] := true;
        v_good[v_g] := true;
      end if;
    end loop;
  end loop;

  for g in 1..v_groups loop
    settled := v_first.settled;
    categories := v_categories;
    key := v_first.keys[g];
    row_count := v_first.row_counts[g];
    skipped := v_first.skipped[g];
    log_likelihood := nullif(v_likelihood[g], '-Infinity');
    iterations := v_iterations[g];
    converged := v_good[g];
    failure := v_failure[g];
    beta := null;
    inverse := null;
    if failure is null then
      beta := v_beta[(g - 1) * v_all + 1:g * v_all];
      -- json to a two-dimensional array, through its text
      inverse := translate(v_inverse[g]::text, '[]', '{}')::float8[];
    end if;
    return next;
  end loop;
end;
$$;

comment on function ml._multinomial_fits(jsonb, integer, integer, float8) is $$
Fits a multinomial logistic model to each group by Newton's method and returns one row per group.
One scan per iteration for all groups.
`beta` and `inverse` (of the information) are for the columns as they are summed, one category after another.
$$;

grant execute on function
  ml._multinomial_statement(jsonb, integer[], text[], float8[], integer[]),
  ml._multinomial_categories(jsonb, integer),
  ml._multinomial_fits(jsonb, integer, integer, float8)
to insights_analyst, insights_admin, insights_worker;
