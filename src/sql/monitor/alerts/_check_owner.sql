create or replace function monitor._check_owner(owner text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_owner.owner ~ '^[a-z][a-z0-9_-]{0,62}$' is not true then
    perform common.refuse(
      'CF001',
      format('owner is %s', coalesce('"' || left(_check_owner.owner, 100) || '"', 'null')),
      'Give a name of a role or team, such as operator: lower-case letters, digits, "_" and "-".'
    );
  end if;
end;
$$;

comment on function monitor._check_owner(text) is $$
Raises CF001 unless the argument is the name of an owner.
$$;
