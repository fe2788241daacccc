create or replace function ml._multinomial_source(settled ml.design, categories integer[], fits ml.fit[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant integer := cardinality(categories);
  v_carried constant text := ml._columns_of(settled, 'd', ', %s', '')
    || case when settled.clusters is not null then ', cluster' else '' end;
  v_source text;
begin
  v_source := format('(%s) as first', ml._layer(
    format('fit.nth, row.y%s, %s', replace(v_carried, ', ', ', row.'), (
      select string_agg(format('%s as eta%s', ml._linear_predictor(settled, format('fit.b%s_', c), 'row'), c), ', '
        order by c)
      from generate_series(1, v_count) as c
    )),
    format(
      '(select * from (%s) as row where complete) as row %s',
      ml._rows(settled),
      ml._model_of_group(settled, fits, ml._unknowns(settled), v_count)
    )
  ));
  -- the largest is subtracted before exp, so that nothing overflows
  v_source := format('(%s) as second', ml._layer(
    format('*, greatest(0, %s) as top', (
      select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c
    )),
    v_source
  ));
  v_source := format('(%s) as third', ml._layer(
    format(
      'nth, y%s, %s, top, exp(greatest(-top, -200)) as e0, %s',
      v_carried,
      (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c),
      (
        select string_agg(format('exp(greatest(eta%s - top, -200)) as e%s', c, c), ', ' order by c)
        from generate_series(1, v_count) as c
      )
    ),
    v_source
  ));
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y%s, %s, top, e0 + %s as total, %s',
      v_carried,
      (select string_agg('eta' || c, ', ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ' + ' order by c) from generate_series(1, v_count) as c),
      (select string_agg('e' || c, ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
  v_source := format('(%s) as fifth', ml._layer(
    format(
      'nth, y%s, case %s else 0 end - top - ln(total) as likelihood, %s',
      v_carried,
      (
        select string_agg(format('when y = %s then eta%s', category, c), ' ' order by c)
        from unnest(categories) with ordinality as list (category, c)
      ),
      (select string_agg(format('e%s / total as p%s', c, c), ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
  return format('(%s) as sixth', ml._layer(
    format(
      'nth, likelihood%s, %s, %s',
      v_carried,
      (
        select string_agg(
          format('case when y = %s then 1 - p%s else -p%s end as s%s', category, c, c, c),
          ', ' order by c
        )
        from unnest(categories) with ordinality as list (category, c)
      ),
      (select string_agg('p' || c, ', ' order by c) from generate_series(1, v_count) as c)
    ),
    v_source
  ));
end;
$$;

comment on function ml._multinomial_source(ml.design, integer[], ml.fit[]) is $$
Returns the text of the subquery with the rows that a multinomial logistic regression sums, named `sixth`.
It has the group's number, the log likelihood, the columns and, for each of the `categories` except the reference, the
probability (p1 …) and the score (s1 …) at the `beta` of the fits.
$$;

grant execute on function ml._multinomial_source(ml.design, integer[], ml.fit[])
to insights_analyst, insights_admin, insights_worker;
