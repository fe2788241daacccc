create or replace function privacy.retention_plan()
returns setof privacy.retention_step
language plpgsql
stable
-- A definer: it counts rows of all people.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_each record;
  v_class privacy.retention_class;
  v_rule privacy.retention;
  v_horizon timestamptz;
begin
  for v_each in
    select class, retention as rule
    from privacy.retention
    join privacy.retention_class as class using (data_class)
    order by class.position, retention.rule
  loop
    v_class := v_each.class;
    v_rule := v_each.rule;
    v_horizon := privacy._retention_horizon(v_rule);
    if v_class.plan_function is null then
      return query select step.* from privacy._plan_rows(v_class, v_rule, v_horizon) as step;
    else
      return query execute format(
        'select * from %I.%I($1, $2)', split_part(v_class.plan_function, '.', 1),
        split_part(v_class.plan_function, '.', 2)
      )
      using v_rule, v_horizon;
    end if;
  end loop;
end;
$$;

comment on function privacy.retention_plan() is $$
Returns what the next run of the rules of retention deletes, one row per rule.
The numbers of rows, the partitions, the rows that stay because of a restriction, and the oldest row of today. Each rule
is counted on its own; nothing is changed.
$$;

grant execute on function privacy.retention_plan() to insights_admin, insights_worker;
