create or replace function ml._glm_statement(
  design jsonb,
  family text,
  link text,
  mean float8,
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
  v_columns text[] := array(select 'd' || variable from unnest(variables) as variable where variable > 0);
  v_carried text := (
    select coalesce(string_agg(', ' || name, '' order by nth), '')
    from unnest(v_columns) with ordinality as list (name, nth)
  );
  v_source text := ml._glm_source(design, family, link, mean, keys, beta, variables);
  v_score text;
begin
  v_score := case
    when beta is not null then 'score'
    when design ? 'offsets' then 'weight * (eta - baseline) + score'
    else 'weight * eta + score'
  end;
  v_source := format('(%s) as fourth', ml._layer(
    format(
      'nth, y, mu, weight, %s as score, deviance%s%s',
      v_score,
      v_carried,
      (
        select coalesce(string_agg(format(', weight * %s as w%s', name, name), '' order by nth), '')
        from unnest(v_columns) with ordinality as list (name, nth)
      )
    ),
    v_source
  ));
  return ml._sums_statement(
    format(
      '%s as key, true as complete, count(*) as row_count',
      case when design -> 'groups' = '[]' then '''1''' else 'nth::text' end
    ),
    '{sum(deviance), (count(*) - count(mu))::float8}'::text[] || (
      select array_agg(term order by kind, row_place, column_place)
      from (
        select 1 as kind, place as row_place, 0::bigint as column_place,
          case when variable = 0 then 'sum(score)' else format('sum(score * d%s)', variable) end as term
        from unnest(variables) with ordinality as list (variable, place)
        union all
        select 2, row_list.place, column_list.place,
          case
            when row_list.variable = 0 and column_list.variable = 0 then 'sum(weight)'
            when row_list.variable = 0 then format('sum(wd%s)', column_list.variable)
            else format('sum(wd%s * d%s)', row_list.variable, column_list.variable)
          end
        from unnest(variables) with ordinality as row_list (variable, place)
        join unnest(variables) with ordinality as column_list (variable, place)
          on column_list.place >= row_list.place
      ) as every_term
    ) || case
      when beta is not null and family not in ('binomial', 'poisson') then '{sum(score * score / weight)}'::text[]
    end,
    format('from %s%s', v_source, case when design -> 'groups' = '[]' then '' else ' group by nth' end)
  );
end;
$$;

comment on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[]) is $$
Returns the text of the statement for one step of Fisher scoring.
By group number: the deviance, the number of rows outside the range of the link, the score vector, the upper triangle of
the information and, where the dispersion is estimated, Pearson's statistic. When `beta` is null, the step starts from
each row's own value.
$$;

grant execute on function ml._glm_statement(jsonb, text, text, float8, text[], float8[], integer[])
to insights_analyst, insights_admin, insights_worker;
