create or replace function ml.watch_models()
returns setof ml.drift
language plpgsql
volatile
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_watched record;
begin
  for v_watched in
    select
      project.name,
      model.parameters ->> 'source_table' as source_table,
      -- An expression is not evaluated: whoever trained the model may be another role than the one that watches it.
      (
        select quote_ident(named)
        from unnest(ml._columns(to_regclass(model.parameters ->> 'source_table'))) as named
        where model.parameters ->> 'label' in (named, quote_ident(named))
        limit 1
      ) as label
    from ml.project
    join ml.model on model.model_id = ml._deployed_model_id(project.project_id)
    where model.coefficients ? 'kind'
      and model.parameters ->> 'source_table' !~ '^pg_temp'
      and to_regclass(model.parameters ->> 'source_table') is not null
      and has_table_privilege(to_regclass(model.parameters ->> 'source_table'), 'select')
    order by project.name
  loop
    begin
      return query select * from ml.measure_drift(v_watched.name, v_watched.source_table, v_watched.label);
    exception when sqlstate 'CF001' or sqlstate 'CF002' or sqlstate 'CF004' then
      -- One table that has changed or is empty keeps no other from being watched.
      raise warning 'ml.watch_models: %: %', v_watched.name, sqlerrm;
    end;
  end loop;
end;
$$;

comment on function ml.watch_models() is $$
Measures the drift of every model in force whose source, the table or view of its training, still exists and may be read by the caller; see ml.measure_drift.
Sources should show what is asked about now: a view of the latest weeks, say. A source that no longer fits gives a warning.
Where the label was an expression and not a column, the inputs alone are measured: it would run with the rights of whoever watches.
$$;

grant execute on function ml.watch_models() to insights_admin, insights_worker;
