create or replace function privacy.kept_for(data_class text)
returns interval
language plpgsql
stable
parallel safe
-- A definer: it calls a check that only the owner may call.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  perform privacy._check_retention_class(kept_for.data_class);
  return (
    select coalesce(retention.keep, class.default_keep)
    from privacy.retention_class as class
    left join privacy.retention on retention.rule = class.data_class
    where class.data_class = kept_for.data_class
  );
end;
$$;

comment on function privacy.kept_for(text) is $$
Returns how long data of a class is kept: by its rule, or else by default. Null: without a limit.
Errors: CF002 for an unknown class.
$$;

grant execute on function privacy.kept_for(text) to insights_admin, insights_worker;
