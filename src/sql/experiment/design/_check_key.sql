create or replace function experiment._check_key(subject text, key text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_key.key is null or _check_key.key !~ '^[a-z][a-z0-9_-]{0,62}$' then
    perform common.refuse(
      'CF001',
      format('"%s" cannot be the name of %s', coalesce(left(_check_key.key, 100), 'null'), _check_key.subject),
      'Use lower case letters, digits, "_" and "-", at most 63 characters, beginning with a letter.'
    );
  end if;
end;
$$;

comment on function experiment._check_key(text, text) is $$
@behavior -*
Raises CF001 for a name that an experiment, metric, layer or holdout cannot have.
$$;
