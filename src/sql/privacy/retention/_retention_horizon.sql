create or replace function privacy._retention_horizon(rule privacy.retention)
returns timestamptz
language sql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- Whole days, and whole months where their sums stay.
return case
  when rule.keep > interval '1990 years' then '-infinity'
  else date_trunc(case when rule.keeps_rollups then 'month' else 'day' end, now() - rule.keep)
end;

comment on function privacy._retention_horizon(privacy.retention) is $$
Returns the time before which a rule of retention deletes, as of the clock of the transaction.
$$;
