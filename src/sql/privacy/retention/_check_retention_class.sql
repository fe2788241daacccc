create or replace function privacy._check_retention_class(data_class text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_names constant text[] := array(
    select class.data_class from privacy.retention_class as class order by class.position
  );
begin
  if _check_retention_class.data_class is null or _check_retention_class.data_class <> all (v_names) then
    perform common.refuse(
      'CF002',
      format('there is no class of data "%s"', coalesce(left(_check_retention_class.data_class, 100), 'null')),
      coalesce(
        'Did you mean "' || common.nearest_name(_check_retention_class.data_class, v_names) || '"?',
        format('The classes are %s.', array_to_string(v_names, ', '))
      )
    );
  end if;
end;
$$;

comment on function privacy._check_retention_class(text) is $$
Raises CF002, with the nearest name, unless there is such a class in `privacy.retention_class`.
$$;
