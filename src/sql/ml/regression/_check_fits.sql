create or replace function ml._check_fits(fits ml.fit[], design ml.design)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
begin
  if fits = '{}' then
    perform common.refuse('CF004', format('"%s" has no rows', left(design.source, 100)), 'Train on a table with rows.');
  elsif not exists (select from unnest(fits) as fit where fit.failure is null) then
    perform ml._fit_failed(fits[1].failure, design.source);
  end if;
end;
$$;

comment on function ml._check_fits(ml.fit[], ml.design) is $$
Raises an error when none of the groups could be fitted: the failure of the first one, or CF004 without groups.
$$;

grant execute on function ml._check_fits(ml.fit[], ml.design) to insights_analyst, insights_admin, insights_worker;
