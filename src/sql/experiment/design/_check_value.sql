create or replace function experiment._check_value(value jsonb, value_type text, what text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_value.value is null
    or _check_value.value_type <> 'json' and jsonb_typeof(_check_value.value) <> _check_value.value_type
  then
    perform common.refuse(
      'CF001',
      format('%s is %s', _check_value.what, coalesce(left(_check_value.value::text, 100), 'null')),
      format('The values of the feature are of the type %s.', _check_value.value_type)
    );
  end if;
end;
$$;

comment on function experiment._check_value(jsonb, text, text) is $$
@behavior -*
Raises CF001 for a value that is not of the type of a feature.
$$;
