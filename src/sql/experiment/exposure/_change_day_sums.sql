create or replace function experiment._change_day_sums(exposures experiment.exposure[], signs int[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sums constant experiment.day_sum[] := array(
    select changed from experiment._day_sums(exposures, signs) as changed
  );
begin
  with updated as (
    update experiment.day_sum
    set
      people = day_sum.people + changed.people,
      sums = array(
        select trim_scale(stored.figure + added.figure)
        from unnest(day_sum.sums) with ordinality as stored (figure, place)
        join unnest(changed.sums) with ordinality as added (figure, place) using (place)
        order by place
      )
    from unnest(v_sums) as changed
    where day_sum.experiment_id = changed.experiment_id
      and day_sum.position = changed.position
      and day_sum.variation = changed.variation
      and day_sum.exposed_on = changed.exposed_on
      and day_sum.stratum = changed.stratum
    returning day_sum.experiment_id, day_sum.position, day_sum.variation, day_sum.exposed_on, day_sum.stratum
  )

  insert into experiment.day_sum (experiment_id, position, variation, exposed_on, stratum, people, sums)
  select
    changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum, changed.people,
    changed.sums
  from unnest(v_sums) as changed
  where not exists (
    select
    from updated
    where (updated.experiment_id, updated.position, updated.variation, updated.exposed_on, updated.stratum)
      = (changed.experiment_id, changed.position, changed.variation, changed.exposed_on, changed.stratum)
  );

  delete from experiment.day_sum
  using unnest(v_sums) as changed
  where day_sum.people = 0
    and day_sum.experiment_id = changed.experiment_id
    and day_sum.position = changed.position
    and day_sum.variation = changed.variation
    and day_sum.exposed_on = changed.exposed_on
    and day_sum.stratum = changed.stratum;
end;
$$;

comment on function experiment._change_day_sums(experiment.exposure[], int[]) is $$
Adds exposures to the sums (1), or subtracts them (-1).
$$;
