create or replace function experiment._arm_sums(experiment_id int, among track.person_set_block[] default null)
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_exposures experiment.exposure[];
begin
  if _arm_sums.among is null then
    return query
    select
      kept_sum.experiment_id, kept_sum.position, kept_sum.variation, kept_sum.exposed_on, kept_sum.stratum,
      kept_sum.people, kept_sum.sums
    from experiment.kept_sum
    where kept_sum.experiment_id = _arm_sums.experiment_id;
    if exists (select from experiment.kept where kept.experiment_id = _arm_sums.experiment_id) then
      return;
    end if;
    return query
    select day_sum.*
    from experiment.day_sum
    where day_sum.experiment_id = _arm_sums.experiment_id;
    return;
  end if;

  perform experiment._check_people(_arm_sums.experiment_id);
  -- An array has a limit of 1 GB, so that people are added some at a time.
  for v_exposures in
    with member as materialized (
      select listed.block, listed.people
      from unnest(_arm_sums.among) as listed
    )

    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      join member
        on member.block = exposure.person_id / 4096
        and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
      where exposure.experiment_id = _arm_sums.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    return query
    select added.*
    from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added;
  end loop;
end;
$$;

comment on function experiment._arm_sums(int, track.person_set_block[]) is $$
@behavior -*
Returns the sums of an experiment, in any number of rows per day.
Those that are kept of an ended experiment, or of `experiment.day_sum`; for some people (`among`) those of their
exposures.
$$;

grant execute on function experiment._arm_sums(int, track.person_set_block[]) to insights_reader;
