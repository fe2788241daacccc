create or replace function track._check_set_name(name text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_set_name.name is null
    or length(_check_set_name.name) > 100
    or _check_set_name.name !~ '^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$'
  then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the name of a set of people', coalesce(left(_check_set_name.name, 100), 'null')),
      'Use lower case letters, digits and "_", with "." between parts, and at most 100 characters.'
    );
  end if;
end;
$$;

comment on function track._check_set_name(text) is $$
Raises CF001 for a name that a set of people cannot have.
$$;
