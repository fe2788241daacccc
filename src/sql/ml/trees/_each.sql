create or replace function ml._each(outputs int, template text, separator text default ', ')
returns text
language sql
immutable
parallel safe
begin atomic
  select string_agg(replace(template, '#', k::text), separator order by k) from generate_series(1, outputs) as k;
end;

comment on function ml._each(int, text, text) is $$
SQL repeated for each output of a tree, with its number in place of `#`: `s#` and 2 outputs are `s1, s2`.
$$;

grant execute on function ml._each(int, text, text) to insights_analyst, insights_admin, insights_worker;
