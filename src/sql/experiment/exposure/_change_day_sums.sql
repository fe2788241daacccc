create or replace function experiment._change_day_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- Planned once: a plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_sums constant experiment.day_sum[] := array(
    select changed from experiment._day_sums(exposures, signs) as changed
  );
begin
  merge into experiment.day_sum
  using unnest(v_sums) as changed
    on day_sum.experiment_id = changed.experiment_id
    and day_sum.position = changed.position
    and day_sum.variation = changed.variation
    and day_sum.exposed_on = changed.exposed_on
    and day_sum.stratum = changed.stratum
  when matched and day_sum.people + changed.people = 0 then delete
  when matched then
    update set
      people = day_sum.people + changed.people,
      sums = array(
        select trim_scale(entry.stored + entry.added)
        from unnest(day_sum.sums, changed.sums) with ordinality as entry (stored, added, place)
        order by entry.place
      )
  when not matched and changed.people <> 0 then
    insert (experiment_id, position, variation, exposed_on, stratum, people, sums)
    values (
      changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum, changed.people,
      changed.sums
    );
end;
$$;

comment on function experiment._change_day_sums(experiment.exposure[], int[]) is $$
Adds exposures to the sums (1), or subtracts them (-1).
$$;
