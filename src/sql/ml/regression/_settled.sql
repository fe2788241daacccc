create or replace function ml._settled(
  design jsonb,
  out settled jsonb,
  out keys text[],
  out row_counts bigint[],
  out skipped bigint[],
  out sums float8[],
  out mean_weights float8[],
  out failure text
)
language plpgsql
as $$
declare
  v_width constant integer := (design ->> 'width')::int;
  v_active constant integer[] := array(select jsonb_array_elements_text(design -> 'active')::int);
  v_candidates integer[] := array(select jsonb_array_elements_text(design -> 'candidates')::int);
  v_spreads float8[] := array_fill(0::float8, array[v_width]);
  v_part record;
  v_constant integer;
  v_total float8 := 0;
begin
  -- the first scan: groups, counts, range of y, whether the candidates are constant, whether all values are finite
  settled := design || '{"y_shift": 0, "y_scale": 1}';
  keys := '{}';
  row_counts := '{}';
  skipped := '{}';
  sums := '{}';
  mean_weights := '{}';
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
        case when design ? 'weights' then 'sum(prior * y) / sum(prior) * count(*)' else 'sum(y)' end,
        ml._columns_of(settled, 'd', ', sum(%1$s * %1$s)', ''),
        case when design ? 'weights' then ', sum(prior) / count(*)' else ', 1' end
          || case when design ? 'offsets' then ', sum(baseline)' else '' end,
        ml._rows(settled)
      ),
      (design ->> 'relation')::regclass,
      true
    ) as part
    group by part.key
    order by part.key
  loop
    if v_part.sums && array['NaN', 'Infinity', '-Infinity']::float8[] then
      perform ml._refuse_non_finite(settled);
    end if;
    keys := keys || coalesce(v_part.key, '');
    row_counts := row_counts || v_part.complete_count;
    skipped := skipped || v_part.skipped_count;
    sums := sums || coalesce(v_part.sums[1:4], '{0, 0, 0, 0}');
    mean_weights := mean_weights || v_part.sums[5 + cardinality(v_active)];
    v_total := v_total + v_part.complete_count;
    for i in 1..cardinality(v_active) loop
      v_spreads[v_active[i]] := v_spreads[v_active[i]] + coalesce(v_part.sums[4 + i], 0);
    end loop;
  end loop;
  if keys = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design ->> 'relation', 100)),
      'Train on a table with rows.');
  end if;

  for place in 1..v_width loop
    if design -> 'literals' -> place - 1 <> 'null' or (place = any (v_candidates) and v_spreads[place] = 0) then
      if (design -> 'literals' ->> place - 1)::float8 = 0 then
        failure := format('column %s is always 0', ml._label(design, place));
      elsif v_constant is not null then
        failure := format(
          'column %s is constant, and so is column %s', ml._label(design, place), ml._label(design, v_constant)
        );
      else
        v_constant := place;
      end if;
    elsif v_spreads[place] = 0 and v_total > 0 then
      failure := format('column %s is constant', ml._label(design, place));
    end if;
  end loop;
  settled := settled || jsonb_build_object(
    'intercept', v_constant,
    'intercept_value', coalesce(
      (design -> 'literals' ->> v_constant - 1)::float8,
      (design -> 'shift' ->> v_constant - 1)::float8
    ),
    'spread', (
      select jsonb_agg(case when v_total > 0 then sqrt(spread / v_total) end order by place)
      from unnest(v_spreads) with ordinality as list (spread, place)
    ),
    'active', (
      select coalesce(jsonb_agg(place order by place), '[]')
      from unnest(v_active) as place
      where place is distinct from v_constant
    ),
    'candidates', '[]'::jsonb
  );
  if v_constant is null then
    -- without an intercept a shift could not be transformed back: the columns are fitted without shifts
    settled := settled || jsonb_build_object('shift', to_jsonb(array_fill(0, array[v_width])));
  end if;
end;
$$;

comment on function ml._settled(jsonb) is $$
Returns a design after the first scan of an iterative fit, with the groups and their row counts.
The design has the additional keys `intercept`, `intercept_value` and `spread`, and all values are finite. `sums`
contains per group the sum of y (with weights, their mean of y times the rows), min, max of y and sum |y (y - 1)|;
`mean_weights` the mean weight, 1 without weights. `failure` names a constant column; null otherwise.
$$;

grant execute on function ml._settled(jsonb) to insights_analyst, insights_admin, insights_worker;
