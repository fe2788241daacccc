create or replace function analytics._shown_mean(
  figure float8, people bigint, smallest_group int, mean float8 default null
)
returns float8
language sql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
  select case
    when coalesce(smallest_group, 1) = 1 or figure is null then figure
    -- HESA: averages of 7 or fewer, percentages of fewer than 22.5 people, where numbers are rounded to 5.
    when people >= case when mean is null then 1.5 else 4.5 end * smallest_group
      then coalesce(floor(figure / unit.size + 0.5) * unit.size, 0)
  end
  from (
    select analytics._power_of_two(smallest_group * abs(coalesce(mean, figure)) / nullif(people, 0)) as size
  ) as unit;
$$;

comment on function analytics._shown_mean(float8, bigint, int, float8) is $$
Returns a mean over a group of people as analysts see it, or a quartile when the `mean` is given too.
Rounded to a multiple of `smallest_group` / `people` of the mean, rounded up to a power of two: as precise as a sum by
`analytics._shown`. Null for fewer than 1.5 times `smallest_group` people, and a quartile for fewer than 4.5 times as
many: with 5, the limits of HESA for averages (7 or fewer) and percentages (fewer than 22.5). A `smallest_group` of 1
or null shows exact figures. A figure that is null, such as a mean of nothing, stays null.
$$;

grant execute on function analytics._shown_mean(float8, bigint, int, float8) to insights_reader;
