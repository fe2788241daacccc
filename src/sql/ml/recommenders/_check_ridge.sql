create or replace function ml._check_ridge(lambda float8)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if lambda is null or not lambda between 1e-30 and 1e15 then
    perform common.refuse(
      'CF001',
      format('lambda is %s', coalesce(lambda::text, 'null')),
      'It is a positive number: 100 to 1000 where items have hundreds of people each, less where they have fewer.'
    );
  end if;
end;
$$;

comment on function ml._check_ridge(float8) is $$
Raises CF001 unless `lambda` is a positive number that single precision can hold, from 1e-30 to 1e15.
$$;

grant execute on function ml._check_ridge(float8) to insights_analyst, insights_admin, insights_worker;
