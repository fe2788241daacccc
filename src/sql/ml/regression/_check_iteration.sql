create or replace function ml._check_iteration(max_iter integer, tolerance float8)
returns void
language plpgsql
immutable
set search_path to pg_catalog, pg_temp
as $$
begin
  if max_iter is null or max_iter < 1 then
    perform common.refuse('CF001', format('max_iter is %s', coalesce(max_iter::text, 'null')), 'Give 1 or more.');
  elsif tolerance is null or not tolerance >= 0 or tolerance = 'Infinity' then
    perform common.refuse('CF001', format('tolerance is %s', coalesce(tolerance::text, 'null')),
      'Give 0 or more, such as 0.0001.');
  end if;
end;
$$;

comment on function ml._check_iteration(integer, float8) is $$
Raises CF001 unless `max_iter` is positive and `tolerance` is finite and not negative.
$$;

grant execute on function ml._check_iteration(integer, float8) to insights_analyst, insights_admin, insights_worker;
