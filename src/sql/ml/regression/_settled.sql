create or replace function ml._settled(
  design ml.design,
  out settled ml.design,
  out groups ml.design_group[],
  out failure text
)
language plpgsql
as $$
declare
  v_width constant integer := design.width;
  v_active constant integer[] := design.active;
  v_spreads float8[] := array_fill(0::float8, array[v_width]);
  v_group ml.design_group;
  v_part record;
  v_value float8;
  v_total float8 := 0;
begin
  -- the first scan: groups, counts, range of y, whether the candidates are constant, whether all values are finite
  settled := design;
  settled.y_shift := 0;
  settled.y_scale := 1;
  settled.intercept := null;
  groups := '{}';
  for v_part in
    select
      part.key,
      coalesce(sum(part.row_count) filter (where part.complete), 0)::bigint as complete_count,
      coalesce(sum(part.row_count) filter (where not part.complete), 0)::bigint as skipped_count,
      max(part.sums) filter (where part.complete) as sums
    from ml._sums(
      format(
        $statement$
        select
          key,
          complete,
          count(*),
          case when complete then array[%s, min(y), max(y), sum(abs(y * (y - 1)))%s%s] end
        from (%s) as row
        group by key, complete
        $statement$,
        case when design.weights is not null then 'sum(prior * y) / sum(prior) * count(*)' else 'sum(y)' end,
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''),
        case when design.weights is not null then ', sum(prior) / count(*)' else ', 1' end
          || case when design.offsets is not null then ', sum(baseline)' else '' end,
        ml._rows(settled)
      ),
      design.relation,
      true
    ) as part
    group by part.key
    order by part.key
  loop
    if v_part.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(settled);
    end if;
    v_group := (
      coalesce(v_part.key, ''),
      v_part.complete_count,
      v_part.skipped_count,
      v_part.sums[5 + cardinality(v_active)],
      coalesce(v_part.sums[1], 0),
      coalesce(v_part.sums[2], 0),
      coalesce(v_part.sums[3], 0),
      coalesce(v_part.sums[4], 0)
    );
    groups := groups || v_group;
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if groups = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design.source, 100)),
      'Train on a table with rows.');
  end if;

  for place in 1..v_width loop
    v_value := design.literals[place];
    if v_value is null and place = any (design.candidates) and v_spreads[place] = 0 then
      v_value := design.shift[place];
    end if;
    if v_value = 0 then
      failure := format('column %s is always 0', ml._label(design, place));
    elsif v_value is not null and settled.intercept is not null then
      failure := format(
        'column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, settled.intercept)
      );
    elsif v_value is not null then
      settled.intercept := place;
      settled.intercept_value := v_value;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled.spread := array(
    select case when v_total > 0 then sqrt(spread / v_total) end
    from unnest(v_spreads) with ordinality as list (spread, place)
    order by place
  );
  settled.active := array_remove(v_active, settled.intercept);
  settled.candidates := '{}';
  if settled.intercept is null then
    -- without an intercept a shift could not be transformed back: the columns are fitted without shifts
    settled.shift := array_fill(0::float8, array[v_width]);
  end if;
end;
$$;

comment on function ml._settled(ml.design) is $$
Returns a design after the first scan of an iterative fit, with the groups of its rows.
The intercept and the spread of the columns are known then, y is not centred, and all values are finite. `failure` names
a constant column; null otherwise.
$$;

grant execute on function ml._settled(ml.design) to insights_analyst, insights_admin, insights_worker;
