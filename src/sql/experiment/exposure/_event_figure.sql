create or replace function experiment._event_figure(slot experiment.slot)
returns text
language sql
stable
set search_path to pg_catalog, pg_temp
begin atomic
  select case
    when (slot).value_property is null then '1'
    else format(
      'case when jsonb_typeof(event.properties -> %1$L) = ''number'' then (event.properties -> %1$L)::numeric end',
      (slot).value_property
    )
  end;
end;

comment on function experiment._event_figure(experiment.slot) is $$
Returns the value of an event for an outcome, as text of SQL: null when the property is not a number.
$$;
