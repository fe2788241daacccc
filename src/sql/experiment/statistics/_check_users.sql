create or replace function experiment._check_users(users float8[])
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if users is null or cardinality(users) <> 2 or array_lower(users, 1) <> 1 or array_ndims(users) <> 1
    or array_position(users, null) is not null
    or not (users[1] >= 2 and users[1] <= 1e15) or not (users[2] >= 2 and users[2] <= 1e15) then
    perform common.refuse('CF001', format('users is %s', coalesce(left(users::text, 100), 'null')),
      'Give the users of control and treatment, each from 2 to 1e15.');
  end if;
end;
$$;

comment on function experiment._check_users(float8[]) is $$
Raises CF001 unless the users of control and treatment are given.
$$;

grant execute on function experiment._check_users(float8[])
to insights_reader, insights_analyst, insights_admin, insights_worker;
