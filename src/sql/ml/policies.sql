/*
 * Roles with usage on the schema may read models and metrics, analysts without the keys of models from outside; the
 * functions that train write them.
 */

do $$
declare
  v_table text;
begin
  foreach v_table in array array[
    'project', 'model', 'deployment', 'tree_node', 'embedding', 'score', 'input_profile', 'comparison', 'drift',
    'calibration'
  ]
  loop
    execute format('grant select on ml.%I to insights_reader, insights_admin, insights_worker', v_table);
    -- The keys of models from outside can be names of people.
    if v_table not in ('embedding', 'score') then
      execute format('grant select on ml.%I to insights_analyst', v_table);
    end if;
    execute format('drop policy if exists all_rows on ml.%I', v_table);
    execute format('create policy all_rows on ml.%I for select using (true)', v_table);
  end loop;
end;
$$;
