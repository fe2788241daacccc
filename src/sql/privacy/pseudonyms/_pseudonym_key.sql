create or replace function privacy._pseudonym_key(project text)
returns bytea
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_key constant bytea := (
    select secret.secret from privacy.secret where secret.purpose = 'pseudonym_' || _pseudonym_key.project
  );
  v_projects text[];
begin
  if v_key is null then
    v_projects := array(
      select substr(secret.purpose, length('pseudonym_') + 1)
      from privacy.secret
      where secret.purpose like 'pseudonym\_%'
      order by secret.purpose
      limit 1000
    );
    perform common.refuse(
      'CF002', format('there is no project "%s"', coalesce(left(_pseudonym_key.project, 100), 'null')),
      coalesce(
        'The nearest name is "' || common.nearest_name(_pseudonym_key.project, v_projects) || '".',
        'privacy.rotate_pseudonyms creates one.'
      )
    );
  end if;
  return v_key;
end;
$$;

comment on function privacy._pseudonym_key(text) is $$
Returns the key of the pseudonyms of a project. Error: CF002 (names the nearest).
$$;
