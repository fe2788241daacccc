create or replace function ml._multinomial_statement(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_factors constant text[] := array(
    select case when place = settled.intercept then '' else ' * d' || place end
    from unnest(ml._unknowns(settled)) with ordinality as list (place, nth)
    order by nth
  );
  v_source text;
begin
  v_source := format('(%s) as seventh', ml._layer(
    format(
      'nth, likelihood%s, %s, %s',
      ml._columns_of(settled, 'd', ', %s', ''),
      (select string_agg('s' || c, ', ' order by c) from generate_series(1, v_count) as c),
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
    ml._multinomial_source(settled, categories, fits)
  ));
  return format(
    'select %s, true, count(*), array[sum(likelihood), %s, %s] from %s%s',
    case when settled.groups = '{}' then '''1''' else 'nth::text' end,
    (
      select string_agg(format('sum(s%s%s)', c, factor), ', ' order by c, nth)
      from generate_series(1, v_count) as c
      cross join unnest(v_factors) with ordinality as list (factor, nth)
    ),
    (
      select string_agg(format('sum(w%s_%s%s%s)', a, b, i.factor, j.factor), ', ' order by a, b, i.nth, j.nth)
      from generate_series(1, v_count) as a
      cross join generate_series(1, v_count) as b
      cross join unnest(v_factors) with ordinality as i (factor, nth)
      cross join unnest(v_factors) with ordinality as j (factor, nth)
      where b >= a
        and j.nth >= i.nth
    ),
    v_source,
    case when settled.groups = '{}' then '' else ' group by nth' end
  );
end;
$$;

comment on function ml._multinomial_statement(ml.design, integer[], ml.fit[]) is $$
Returns the text of the statement for one Newton step of multinomial logistic regression.
By group: the log likelihood, the score, and the upper triangles of the information by pairs of categories. `categories`
are all except the reference.
$$;

create or replace function ml._multinomial_information(sums float8[], size integer, categories integer)
returns float8[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_all constant integer := size * categories;
  v_matrix float8[] := array_fill(0::float8, array[v_all, v_all]);
  v_at integer := 1 + v_all;
  v_row integer;
  v_column integer;
begin
  for a in 1..categories loop
    for b in a..categories loop
      v_row := (a - 1) * size;
      v_column := (b - 1) * size;
      for i in 1..size loop
        for j in i..size loop
          v_at := v_at + 1;
          v_matrix[v_row + i][v_column + j] := sums[v_at];
          v_matrix[v_row + j][v_column + i] := sums[v_at];
          v_matrix[v_column + j][v_row + i] := sums[v_at];
          v_matrix[v_column + i][v_row + j] := sums[v_at];
        end loop;
      end loop;
    end loop;
  end loop;
  return v_matrix;
end;
$$;

comment on function ml._multinomial_information(float8[], integer, integer) is $$
Returns the information of a multinomial model by category, then by unknown, from the sums of its statement.
$$;

create or replace function ml._multinomial_categories(
  settled ml.design,
  ref_category integer,
  out categories integer[],
  out group_keys text[],
  out counts integer[]
)
language plpgsql
as $$
declare
  v_part record;
  v_place integer;
begin
  categories := '{}';
  group_keys := '{}';
  counts := '{}';
  for v_part in
    select coalesce(part.key, '') as key, part.sums[1] as category
    from ml._sums(
      format(
        'select key, true, count(*), array[y] from (%s) as row where complete group by key, y',
        ml._rows(settled)
      ),
      settled.relation
    ) as part
    order by part.sums[1]
  loop
    if v_part.category <> round(v_part.category) or abs(v_part.category) > 2147483647 then
      perform common.refuse(
        'CF001',
        format(
          'the dependent variable "%s" holds %s, which is not an integer',
          left(settled.y, 100),
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
          format('the dependent variable "%s" has more than 100 categories', left(settled.y, 100)),
          'Combine rare categories, or use a regression for numbers.'
        );
      end if;
    end if;
    v_place := array_position(group_keys, v_part.key);
    if v_place is null then
      group_keys := group_keys || v_part.key;
      counts := counts || 1;
    else
      counts[v_place] := counts[v_place] + 1;
    end if;
  end loop;
  if categories <> '{}' and cardinality(categories) > 1 and not ref_category = any (categories) then
    perform common.refuse(
      'CF002',
      format('"%s" never holds the reference category %s', left(settled.y, 100), ref_category),
      format('Its categories are %s.', array_to_string(categories, ', '))
    );
  end if;
end;
$$;

comment on function ml._multinomial_categories(ml.design, integer) is $$
Returns the categories of a settled design in ascending order, and by group key the number of its categories.
Errors: CF001 (not an integer), CF002 (the reference category does not occur), CF008 (more than 100 categories).
$$;

create or replace function ml._multinomial_step(
  settled ml.design,
  iteration integer,
  max_iter integer,
  tolerance float8,
  sums float8[],
  inout fit ml.fit,
  inout state ml.fit_step
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknowns constant integer[] := ml._unknowns(settled);
  v_size constant integer := cardinality(v_unknowns);
  v_count constant integer := array_length(fit.beta, 1);
  v_all constant integer := v_size * v_count;
  v_solved record;
  v_at integer := 0;
  v_place integer;
  v_value float8;
  v_gain float8 := 0;
  v_farthest float8 := 0;
  v_column integer;
begin
  fit.iterations := iteration;
  if sums[1] < fit.log_likelihood - 1e-10 * abs(fit.log_likelihood) then
    state.halvings := state.halvings + 1;
    state.done := state.halvings > 30;
    for c in 1..v_count loop
      foreach v_place in array v_unknowns loop
        fit.beta[c][v_place] := (fit.beta[c][v_place] + state.previous[c][v_place]) / 2;
      end loop;
    end loop;
    return;
  end if;
  fit.log_likelihood := sums[1];
  state.halvings := 0;
  v_solved := ml._scaled_inverse(
    ml._multinomial_information(sums, v_size, v_count), case when iteration = 1 then 1e-11 else 1e-14 end
  );
  if v_solved.dependent is not null then
    v_column := v_unknowns[(v_solved.dependent - 1) % v_size + 1];
    state.done := true;
    fit.failure := case
      when iteration = 1 then
        format('column %s is a linear combination of the columns before it', ml._label(settled, v_column))
      else ml._separation(settled, v_column)
    end;
    return;
  end if;
  fit.inverse := v_solved.inverse;
  state.previous := fit.beta;
  for c in 1..v_count loop
    foreach v_place in array v_unknowns loop
      v_at := v_at + 1;
      v_value := 0;
      for j in 1..v_all loop
        v_value := v_value + fit.inverse[v_at][j] * sums[1 + j];
      end loop;
      fit.beta[c][v_place] := fit.beta[c][v_place] + v_value;
      v_gain := v_gain + v_value * sums[1 + v_at];
      if v_place is distinct from settled.intercept and abs(v_value) * settled.spread[v_place] > v_farthest then
        v_farthest := abs(v_value) * settled.spread[v_place];
        v_column := v_place;
      end if;
    end loop;
  end loop;
  if v_farthest > 0.3
    and (v_gain < 1e-3 or v_farthest > 30 * sqrt(v_gain) or iteration = max_iter and iteration >= 15)
  then
    state.done := true;
    fit.failure := ml._separation(settled, v_column);
  elsif v_gain <= (tolerance / 100) ^ 2 then
    state.done := true;
    fit.converged := true;
  end if;
end;
$$;

comment on function ml._multinomial_step(
  ml.design, integer, integer, float8, float8[], ml.fit, ml.fit_step
) is $$
Returns the fit of one group after a Newton step from the sums of ml._multinomial_statement.
$$;

create or replace function ml._multinomial_fits(
  design ml.design,
  ref_category integer,
  max_iter integer,
  tolerance float8,
  out settled ml.design,
  out categories integer[],
  out fits ml.fit[]
)
language plpgsql
as $$
declare
  v_first constant record := ml._settled(design);
  v_found record;
  v_count integer;
  v_all integer;
  v_group ml.design_group;
  v_fit ml.fit;
  v_state ml.fit_step;
  v_states ml.fit_step[] := '{}';
  v_present integer;
  v_living integer[];
  v_part record;
  v_stepped record;
begin
  settled := v_first.settled;
  fits := '{}';
  v_found := ml._multinomial_categories(settled, ref_category);
  categories := array_remove(v_found.categories, ref_category);
  v_count := cardinality(categories);
  v_all := cardinality(ml._unknowns(settled)) * v_count;
  if v_all > 120 then
    perform common.refuse(
      'CF008',
      format('%s coefficients: %s categories of %s columns', v_all, v_count, cardinality(ml._unknowns(settled))),
      'At most 120 can be fitted; combine rare categories.'
    );
  end if;
  foreach v_group in array v_first.groups loop
    v_present := v_found.counts[array_position(v_found.group_keys, v_group.group_key)];
    v_fit := null;
    v_fit.group_key := v_group.group_key;
    v_fit.row_count := v_group.row_count;
    v_fit.skipped := v_group.skipped;
    v_fit.beta := array_fill(0::float8, array[v_count, design.width]);
    v_fit.log_likelihood := '-Infinity';
    v_fit.iterations := 0;
    v_fit.converged := false;
    v_fit.failure := coalesce(v_first.failure, case
      when v_group.row_count = 0 then 'no row without a null'
      when cardinality(v_found.categories) < 2 then 'it holds one class only, ' || v_found.categories[1]
      when v_present < cardinality(v_found.categories) then
        format('it holds %s of the %s categories', v_present, cardinality(v_found.categories))
      when v_group.row_count < v_all then
        format('%s complete rows for %s coefficients', v_group.row_count, v_all)
    end);
    v_state := null;
    v_state.done := v_fit.failure is not null;
    v_state.previous := v_fit.beta;
    v_state.halvings := 0;
    fits := fits || v_fit;
    v_states := v_states || v_state;
  end loop;

  for iteration in 1..max_iter loop
    v_living := array(
      select state.ordinality
      from unnest(v_states) with ordinality as state
      where not state.done
      order by state.ordinality
    );
    exit when v_living = '{}';
    for v_part in
      select v_living[part.key::int] as place, part.sums
      from ml._sums(
        ml._multinomial_statement(settled, categories, array(
          select fits[place] from unnest(v_living) with ordinality as living (place, nth) order by nth
        )),
        design.relation
      ) as part
    loop
      v_stepped := ml._multinomial_step(
        settled, iteration, max_iter, tolerance, v_part.sums, fits[v_part.place], v_states[v_part.place]
      );
      fits[v_part.place] := v_stepped.fit;
      v_states[v_part.place] := v_stepped.state;
    end loop;
  end loop;
end;
$$;

comment on function ml._multinomial_fits(ml.design, integer, integer, float8) is $$
Fits a multinomial logistic model to each group by Newton's method.
Returns the settled design, the categories without the reference, and one fit per group, whose `beta` has one row per
category. One scan per iteration for all groups.
$$;

create or replace function ml._multinomial_estimates(
  settled ml.design,
  categories integer[],
  fit ml.fit,
  covariance float8[]
)
returns setof ml.fit
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_fit ml.fit := fit;
begin
  for a in 1..v_count loop
    v_fit.category := categories[a];
    v_fit.beta := array(
      select fit.beta[a][place] from generate_series(1, settled.width) as place order by place
    );
    v_fit.coef := (ml._unscaled(v_fit.beta, null, settled, settled.intercept, settled.intercept_value)).coef;
    v_fit.covariance := array_fill(0::float8, array[settled.width, settled.width]);
    for i in 1..settled.width loop
      v_fit.covariance[i][i] := covariance[(i - 1) * v_count + a][(i - 1) * v_count + a];
    end loop;
    return next ml._tested(v_fit, null);
  end loop;
end;
$$;

comment on function ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[]) is $$
Returns one fit per category from the fit of a group, with coefficients in the units of the caller, and their tests.
`covariance` is that of ml._multinomial_covariance; only the variances of a category are in `ml.fit.covariance`.
$$;

grant execute on function
  ml._multinomial_statement(ml.design, integer[], ml.fit[]),
  ml._multinomial_information(float8[], integer, integer),
  ml._multinomial_categories(ml.design, integer),
  ml._multinomial_step(ml.design, integer, integer, float8, float8[], ml.fit, ml.fit_step),
  ml._multinomial_fits(ml.design, integer, integer, float8),
  ml._multinomial_estimates(ml.design, integer[], ml.fit, float8[])
to insights_analyst, insights_admin, insights_worker;
