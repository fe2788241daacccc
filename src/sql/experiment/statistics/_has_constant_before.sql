create or replace function experiment._has_constant_before(arms experiment.statistic[])
returns boolean
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_arm experiment.statistic;
  v_count int;
begin
  foreach v_arm in array arms loop
    v_count := cardinality(v_arm.sums);
    if v_arm.is_adjusted then
      for i in v_count / 2 + 1..v_count loop
        if v_arm.n * v_arm.products[(i - 1) * v_count + i] <= v_arm.sums[i] * v_arm.sums[i] then
          return true;
        end if;
      end loop;
    end if;
  end loop;
  return false;
end;
$$;

comment on function experiment._has_constant_before(experiment.statistic[]) is $$
Returns whether a variable of the time before the exposure has no variance in an arm.
$$;

grant execute on function experiment._has_constant_before(experiment.statistic[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
