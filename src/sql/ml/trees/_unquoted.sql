create or replace function ml._unquoted(name text)
returns text
language sql
immutable
parallel safe
begin atomic
  select case
    when name ~ '^"([^"]|"")+"$' then replace(substr(name, 2, length(name) - 2), '""', '"')
    else name
  end;
end;

comment on function ml._unquoted(text) is $$
The name of a column as stored; any other expression as it is.
$$;

grant execute on function ml._unquoted(text) to insights_analyst, insights_admin, insights_worker;
