create or replace function analytics._check_size(name text, rule jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most constant int := 200;
  v_largest record;
begin
  -- The conditions of each cohort with those of the sets that it names. The list ends with the first that is too long.
  for v_largest in
    with recursive rules as materialized (
      select cohort.name, cohort.rule
      from analytics.cohort
      where cohort.name <> _check_size.name
        and cohort.is_live
      union all
      select _check_size.name, _check_size.rule
    )
    select root.name, counted.conditions, counted.levels
    from rules as root
    cross join lateral (
      select count(*) as conditions, max(taken.level) as levels
      from (
        with recursive part (rule, level) as (
          select root.rule, 1
          union all
          select child.rule, child.level
          from part
          cross join lateral (
            select entry.value as rule, part.level
            from jsonb_array_elements(
              coalesce(part.rule -> 'all', part.rule -> 'any', jsonb_build_array(part.rule -> 'not'))
            ) as entry
            where part.rule ?| '{all,any,not}'
            union all
            select rules.rule, part.level + 1
            from rules
            where rules.name = part.rule ->> 'set'
          ) as child
          where part.level <= 10
        )
        select part.level from part limit v_most + 1
      ) as taken
    ) as counted
  loop
    if v_largest.conditions > v_most or v_largest.levels > 10 then
      perform common.refuse(
        'CF008',
        format('"%s" has more than %s conditions or 10 levels, with those of the cohorts that it names',
          v_largest.name, v_most),
        'Use fewer conditions, or a cohort that is not live (is_live false), whose people are fixed.'
      );
    end if;
  end loop;
end;
$$;

comment on function analytics._check_size(text, jsonb) is $$
Raises CF008 for a rule that makes its cohort, or one that names it, too large.
$$;
