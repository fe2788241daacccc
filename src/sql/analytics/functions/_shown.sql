create or replace function analytics._shown(
  figure float8, people bigint, smallest_group int, whole float8 default null
)
returns float8
-- An SQL function with settings is not inlined, and is started again for each row.
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unit float8;
begin
  if coalesce(smallest_group, 1) = 1 then
    return figure;
  elsif people < smallest_group or figure <= 0 then
    return 0;
  end if;
  v_unit := smallest_group * analytics._power_of_two(coalesce(whole, figure) / nullif(people, 0));
  return case
    when whole is not null and figure < v_unit then 0
    else floor(figure / v_unit + 0.5) * v_unit
  end;
end;
$$;

comment on function analytics._shown(float8, bigint, int, float8) is $$
Returns a figure about a group of people as analysts see it.
A group of fewer than `smallest_group` people reads as an empty one: 0. Numbers of people are rounded to the nearest
multiple of `smallest_group`, halves upwards; with 5 that is the rounding methodology of HESA (the Higher Education
Statistics Agency of the UK), but for groups of 3 and 4, which HESA shows as 5. Other sums, such as events, are rounded
to the nearest multiple of `smallest_group` times the average per person, rounded up to a power of two: a sum is never
more precise than `smallest_group` average people. `whole`: the figure that `figure` is a part of, such as a sum
weighted by age; it is then rounded like the whole one, and less than one unit reads as 0. A `smallest_group` of 1 or
null shows exact figures.
$$;

grant execute on function analytics._shown(float8, bigint, int, float8) to insights_reader;
