create or replace function experiment._check_results(test text, difference text)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_results.test not in ('welch', 'sequential', 'bayesian') then
    perform common.refuse(
      'CF001', format('test is "%s"', left(_check_results.test, 100)), 'Give welch, sequential or bayesian.'
    );
  elsif _check_results.difference is null or _check_results.difference not in ('relative', 'absolute') then
    perform common.refuse(
      'CF001',
      format('difference is "%s"', coalesce(left(_check_results.difference, 100), 'null')),
      'Give relative or absolute.'
    );
  end if;
end;
$$;

comment on function experiment._check_results(text, text) is $$
Raises CF001 for a test or a kind of difference that does not exist.
$$;

grant execute on function experiment._check_results(text, text)
to insights_reader, insights_analyst, insights_admin, insights_worker;
