create or replace function ml._cox_residuals(settled ml.design, beta float8[])
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_active constant integer[] := settled.active;
  v_columns constant text := (
    select string_agg(format(', d%s as x%s', place, nth), '' order by nth)
    from unnest(v_active) with ordinality as list (place, nth)
  );
  v_places constant integer[] := array(select nth from generate_subscripts(v_active, 1) as nth order by nth);
  v_rows text;
begin
  v_rows := format('(%s) as scored', ml._layer(
    format('coalesce(key, '''') as key, y, status%s%s, exp(least(greatest(%s, -200), 200)) as risk',
      case when settled.clusters is not null then ', cluster' else '' end, v_columns,
      (
        select string_agg(format('%L::float8 * d%s', beta[place], place), ' + ' order by nth)
        from unnest(v_active) with ordinality as list (place, nth)
      )),
    format('(select * from (%s) as row where complete) as row', ml._rows(settled))
  ));
  return format(
    $statement$
    select scored.key, scored.y, scored.status%1$s, scored.risk, passed.hazard, %2$s, %3$s, %4$s
    from %5$s
    join (
      select key, y, s0, %6$s,
        sum(events / s0) over passed as hazard, %7$s
      from (
        select key, y, events, sum(s0) over later as s0, %8$s
        from (
          select key, y, sum(status) as events, sum(risk) as s0, %9$s
          from %5$s
          group by key, y
        ) as by_time
        window later as (partition by key order by y desc rows unbounded preceding)
      ) as at_risk
      window passed as (partition by key order by y rows unbounded preceding)
    ) as passed using (key, y)
    $statement$,
    case when settled.clusters is not null then ', scored.cluster' else '' end,
    (select string_agg('scored.x' || i, ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('passed.m%s', i), ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('passed.h%s', i), ', ' order by i) from unnest(v_places) as i),
    v_rows,
    (select string_agg(format('r%s / s0 as m%s', i, i), ', ' order by i) from unnest(v_places) as i),
    (
      select string_agg(format('sum(events / s0 * (r%s / s0)) over passed as h%s', i, i), ', ' order by i)
      from unnest(v_places) as i
    ),
    (select string_agg(format('sum(r%s) over later as r%s', i, i), ', ' order by i) from unnest(v_places) as i),
    (select string_agg(format('sum(risk * x%s) as r%s', i, i), ', ' order by i) from unnest(v_places) as i)
  );
end;
$$;

comment on function ml._cox_residuals(ml.design, float8[]) is $$
Returns the text of a select of the rows of a proportional hazards model, with what their residuals consist of.
Its columns: key (the stratum), y, status, cluster, risk, x1 … (the columns as they are summed), m1 … (their mean over
the rows at risk, by risk), hazard (the cumulative baseline hazard), h1 … (the integral of the means over it). The
Schoenfeld residual is x - m; the score residual status (x - m) - risk (x hazard - h).
$$;

grant execute on function ml._cox_residuals(ml.design, float8[])
to insights_analyst, insights_admin, insights_worker;
