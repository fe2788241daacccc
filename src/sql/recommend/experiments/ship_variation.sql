/* A definer: no role may write the parameters of lists. */
create or replace function recommend.ship_variation(placement text, value jsonb)
returns void
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_kind constant text := substr(ship_variation.placement, length('recommend.') + 1);
begin
  perform recommend.check_variation(ship_variation.placement, ship_variation.value);
  if jsonb_typeof(ship_variation.value -> 'model') = 'number' then
    perform ml.deploy(ship_variation.placement, (ship_variation.value -> 'model')::int);
  end if;

  insert into recommend.list_parameters (kind, parameters)
  values (v_kind, jsonb_strip_nulls(ship_variation.value - 'model'))
  on conflict (kind) do update
  set
    parameters = jsonb_strip_nulls(list_parameters.parameters || ship_variation.value - 'model'),
    updated_at = now();
  delete from recommend.list_parameters
  where list_parameters.kind = v_kind
    and list_parameters.parameters = '{}';
end;
$$;

comment on function recommend.ship_variation(text, jsonb) is $$
@behavior -*
Makes a variation permanent for all people: deploys its version, and stores its other parameters for the kind.
`experiment.ship` calls it. A version that is named is deployed (`ml.deploy`; `ml.rollback` undoes it); a later training
may replace it by a better one. What the value does not name stays as it is, and null removes a parameter:
`recommend.ship_variation('recommend.course', '{"tiers": null}')`.
Errors: those of `recommend.check_variation`.
$$;

grant execute on function recommend.ship_variation(text, jsonb) to insights_admin, insights_worker;
