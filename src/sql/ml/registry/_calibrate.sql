/* A definer: see ml._conclude. */
create or replace function ml._calibrate(model_id bigint, calibration jsonb)
returns ml.model
language sql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
  update ml.model
  set coefficients = model.coefficients || jsonb_build_object('calibration', _calibrate.calibration)
  where model.model_id = _calibrate.model_id
  returning model.*;
$$;

comment on function ml._calibrate(bigint, jsonb) is $$
Gives a version the calibration of its scores, before it is first deployed.
$$;

grant execute on function ml._calibrate(bigint, jsonb) to insights_admin, insights_worker;
