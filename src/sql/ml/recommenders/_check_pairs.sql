create or replace function ml._check_pairs(unit float8, pairs text default 'given')
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if (unit > 0 and unit < 'infinity') is not true then
    perform common.refuse('CF001', format('unit is %s', coalesce(unit::text, 'null')),
      'Give a positive number, in whole numbers of which products of two weights are counted: 2^-40 for weights to 1.');
  end if;
  if pairs is null then
    perform common.refuse('CF001', 'pairs is null', 'Give a statement, such as that of ml.sequence_pairs.');
  end if;
end;
$$;

comment on function ml._check_pairs(float8, text) is $$
Raises CF001 unless the unit of sums is a positive number, and a statement is given.
$$;

grant execute on function ml._check_pairs(float8, text) to insights_analyst, insights_admin, insights_worker;
