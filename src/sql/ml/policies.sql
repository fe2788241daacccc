/* Models and metrics are for everybody who may enter the room; they are written by the functions that train. */

do $$
declare
  v_table text;
begin
  foreach v_table in array array['project', 'model', 'deployment', 'tree_node', 'embedding', 'score', 'input_profile', 'comparison', 'drift']
  loop
    execute format('grant select on ml.%I to insights_reader, insights_analyst, insights_admin, insights_worker', v_table);
    execute format('drop policy if exists all_rows on ml.%I', v_table);
    execute format('create policy all_rows on ml.%I for select using (true)', v_table);
  end loop;
end;
$$;
