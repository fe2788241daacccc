create or replace function ml._glm_statement(
  design ml.design,
  family text,
  link text,
  mean float8,
  fits ml.fit[],
  prepared boolean default false
)
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_started constant boolean := fits[1].beta is not null;
  v_unknowns constant integer[] := ml._unknowns(design);
  v_source text := ml._glm_source(design, family, link, mean, fits, prepared);
begin
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y, mu, weight, %s as score, deviance%s%s',
      case
        when v_started then 'score'
        when design.offsets is not null then 'weight * (eta - baseline) + score'
        else 'weight * eta + score'
      end,
      ml._columns_of(design, 'd', ', %s', ''),
      ml._columns_of(design, 'd', ', weight * %1$s as w%1$s', '')
    ),
    v_source
  ));
  return ml._sums_statement(
    format(
      '%s as key, true as complete, count(*) as row_count',
      case when design.groups = '{}' then '''1''' else 'nth::text' end
    ),
    '{sum(deviance), (count(*) - count(mu))::float8}'::text[] || (
      select array_agg(term order by kind, row_nth, column_nth)
      from (
        select 1 as kind, nth as row_nth, 0::bigint as column_nth,
          case when place = design.intercept then 'sum(score)' else format('sum(score * d%s)', place) end as term
        from unnest(v_unknowns) with ordinality as list (place, nth)
        union all
        select 2, row_list.nth, column_list.nth,
          case
            when row_list.place = design.intercept and column_list.place = design.intercept then 'sum(weight)'
            when row_list.place = design.intercept then format('sum(wd%s)', column_list.place)
            else format('sum(wd%s * d%s)', row_list.place, column_list.place)
          end
        from unnest(v_unknowns) with ordinality as row_list (place, nth)
        join unnest(v_unknowns) with ordinality as column_list (place, nth) on column_list.nth >= row_list.nth
      ) as every_term
    ) || case
      when v_started and family not in ('binomial', 'poisson') then '{sum(score * score / weight)}'::text[]
    end,
    format('from %s%s', v_source, case when design.groups = '{}' then '' else ' group by nth' end)
  );
end;
$$;

comment on function ml._glm_statement(ml.design, text, text, float8, ml.fit[], boolean) is $$
Returns the text of the statement for one step of Fisher scoring, for the groups of the fits.
By group number: the deviance, the number of rows outside the range of the link, the score vector, the upper triangle of
the information and, where the dispersion is estimated, Pearson's statistic. Without `beta` in the fits, the step starts
from each row's own value. With `prepared`, the coefficients are parameters.
$$;

grant execute on function ml._glm_statement(ml.design, text, text, float8, ml.fit[], boolean)
to insights_analyst, insights_admin, insights_worker;
