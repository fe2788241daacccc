create or replace function monitor._check_source(source text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sources constant text[] := array(
    select health_check.health_check
    from monitor.health_check
    union all
    select rule.rule
    from monitor.rule
    union all
    select 'health'
    order by 1
  );
begin
  if _check_source.source = any (v_sources) is not true then
    perform common.refuse(
      'CF002',
      format('there is no check or rule "%s"', coalesce(left(_check_source.source, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(_check_source.source, v_sources) || '"?',
        'They are the rows of monitor.health_check and monitor.rule.'
      )
    );
  end if;
end;
$$;

comment on function monitor._check_source(text) is $$
Raises CF002 unless the argument is the name of a check or rule.
$$;
