create or replace function experiment._compare_arms(
  arms experiment.arm[],
  variation smallint,
  options jsonb,
  is_adjusted boolean,
  out answer jsonb,
  out note text
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_pairs constant jsonb := (
    select jsonb_agg(
      case
        when is_adjusted then jsonb_build_array(control.adjusted, treatment.adjusted)
        else jsonb_build_array(control.statistic, treatment.statistic)
      end
      order by control.stratum
    )
    from unnest(arms) as control
    join unnest(arms) as treatment on treatment.stratum = control.stratum
    where control.variation = 0
      and treatment.variation = _compare_arms.variation
  );
begin
  if jsonb_array_length(v_pairs) > 1 then
    answer := experiment.compare_strata(v_pairs, options);
    return;
  end if;
  select experiment.compare(
    case when is_adjusted then control.adjusted else control.statistic end,
    case when is_adjusted then treatment.adjusted else treatment.statistic end,
    options
  )
  into answer
  from unnest(arms) as control
  cross join unnest(arms) as treatment
  where control.variation = 0
    and control.stratum is null
    and treatment.variation = _compare_arms.variation
    and treatment.stratum is null;
  if not found then
    note := 'The control or the variation has no people.';
  end if;
exception
  -- Too few people, or no variance: there is no result yet.
  when sqlstate 'CF004' or sqlstate 'CF007' then
    note := sqlerrm;
  -- A client may send any number.
  when sqlstate 'CF001' or numeric_value_out_of_range then
    note := 'The values are too large or too small for the statistics: give the metric a cap, or filter its events.';
end;
$$;

comment on function experiment._compare_arms(experiment.arm[], smallint, jsonb, boolean) is $$
@behavior -*
Compares a variation with the control in one metric, post-stratified when there are strata.
`answer`: as of `experiment.compare`; without one, `note` is the reason.
$$;

grant execute on function experiment._compare_arms(experiment.arm[], smallint, jsonb, boolean) to insights_reader;
