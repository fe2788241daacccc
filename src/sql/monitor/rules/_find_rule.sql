create or replace function monitor._find_rule(rule text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not exists (select from monitor.rule as known where known.rule = _find_rule.rule) then
    perform common.refuse(
      'CF002',
      format('there is no rule "%s"', coalesce(left(_find_rule.rule, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(
          _find_rule.rule, array(select known.rule from monitor.rule as known order by 1 limit 1000)
        ) || '"?',
        'The rules are the rows of monitor.rule.'
      )
    );
  end if;
end;
$$;

comment on function monitor._find_rule(text) is $$
Raises CF002 unless there is a rule of this name.
$$;
