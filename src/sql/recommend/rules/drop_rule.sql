create or replace function recommend.drop_rule(name text)
returns void
language plpgsql
volatile
-- A definer: it writes the rules and their log, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform recommend._check_session('drop a rule', '{}');
  delete from recommend.rule where rule.name = drop_rule.name;
  if not found then
    perform common.refuse(
      'CF002',
      format('there is no rule "%s"', coalesce(left(drop_rule.name, 100), 'null')),
      coalesce(
        'Did you mean "'
          || common.nearest_name(
            drop_rule.name, array(select known.name from recommend.rule as known order by known.name limit 1000)
          )
          || '"?',
        'The rules are the rows of recommend.rule.'
      )
    );
  end if;
  perform recommend._log_rule(drop_rule.name);
end;
$$;

comment on function recommend.drop_rule(text) is $$
Removes a rule of lists. A check such as `availability` can be set again by `recommend.set_rule`.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function recommend.drop_rule(text) to insights_admin;
