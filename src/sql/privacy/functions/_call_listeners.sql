create or replace function privacy._call_listeners(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name text;
begin
  if people = '{}' then
    return;
  end if;
  for v_name in
    select listener.function_name
    from privacy.listener
    order by listener.function_name
  loop
    execute format('select %I.%I($1)', split_part(v_name, '.', 1), split_part(v_name, '.', 2)) using people;
  end loop;
end;
$$;

comment on function privacy._call_listeners(bigint[]) is $$
Calls the functions of `privacy.listener` with the people whose decisions changed; null: all people.
$$;
