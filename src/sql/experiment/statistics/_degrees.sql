create or replace function experiment._degrees(control experiment.estimate, treatment experiment.estimate)
returns float8
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_control constant float8 := control.variance / control.n;
  v_treatment constant float8 := treatment.variance / treatment.n;
  v_large constant float8 := greatest(v_control, v_treatment);
  -- shares of the larger term; squares of very small ones would underflow
  v_a constant float8 := case when v_control < v_large * 1e-100 then 0 else v_control / v_large end;
  v_b constant float8 := case when v_treatment < v_large * 1e-100 then 0 else v_treatment / v_large end;
begin
  return (v_a + v_b) ^ 2 / (v_a ^ 2 / (control.n - 1) + v_b ^ 2 / (treatment.n - 1));
end;
$$;

comment on function experiment._degrees(experiment.estimate, experiment.estimate) is $$
Returns the degrees of freedom of the difference of two means by Satterthwaite's formula.
$$;

grant execute on function experiment._degrees(experiment.estimate, experiment.estimate)
to insights_reader, insights_analyst, insights_admin, insights_worker;
