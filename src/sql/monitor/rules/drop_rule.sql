create or replace function monitor.drop_rule(rule text)
returns void
language plpgsql
volatile
-- A definer: rules are written by these functions only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform monitor._find_rule(drop_rule.rule);
  delete from monitor.rule as known where known.rule = drop_rule.rule;
end;
$$;

comment on function monitor.drop_rule(text) is $$
Removes a rule with its learned bounds; its alerts are resolved by the next runs of `monitor.watch`.
Errors: CF002 for an unknown rule (names the nearest).
$$;

grant execute on function monitor.drop_rule(text) to insights_admin;
