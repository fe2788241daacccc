create or replace function privacy._check_purpose(purpose text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if not exists (select from privacy.purpose where purpose.purpose = _check_purpose.purpose) then
    perform common.refuse(
      'CF002',
      format('there is no purpose "%s"', left(_check_purpose.purpose, 100)),
      (
        select format('The purposes are %s.', string_agg(purpose.purpose, ', ' order by purpose.purpose))
        from privacy.purpose
      )
    );
  end if;
end;
$$;

comment on function privacy._check_purpose(text) is $$
Raises CF002 when there is no such purpose.
$$;
