create or replace function experiment.choose_variation(n double precision, ranges double precision[])
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  -- An array of PostgreSQL may begin at another position than 1, and may be a list of lists.
  v_ranges constant float8[] := case
    when array_lower(choose_variation.ranges, 1) <> 1 or array_ndims(choose_variation.ranges) <> 1
      then array(select entry.bound from unnest(choose_variation.ranges) as entry (bound))
    else choose_variation.ranges
  end;
begin
  if choose_variation.ranges is null then
    return null;
  end if;
  for v_variation in 0..cardinality(choose_variation.ranges) / 2 - 1 loop
    -- NaN is in no range and bounds none; PostgreSQL sorts it last.
    if choose_variation.n >= v_ranges[2 * v_variation + 1]
      and choose_variation.n < v_ranges[2 * v_variation + 2]
      and v_ranges[2 * v_variation + 2] <> 'nan'
    then
      return v_variation;
    end if;
  end loop;
  return -1;
end;
$$;

comment on function experiment.choose_variation(double precision, double precision[]) is $$
Returns the position, from 0, of the first range that holds a number, -1 if there is none.
The ranges are low and high bounds in turn, as `experiment.bucket_ranges` returns them; the high bound is excluded.
$$;

grant execute on function experiment.choose_variation(double precision, double precision[])
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
