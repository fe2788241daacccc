create or replace function ml._fit_failed(failure text, relation text)
returns void
language plpgsql
set search_path to pg_catalog, pg_temp
as $$
declare
  -- No word of it is longer than 100 characters.
  v_failure constant text := left(regexp_replace(left(failure, 1000), '(\S{97})\S{4,}', '\1…', 'g'), 200);
begin
  if failure ~ 'without a null|rows for' then
    perform common.refuse('CF004', format('"%s" has too few rows: %s', left(relation, 100), v_failure),
      'A model needs at least as many rows without nulls as it has columns.');
  elsif failure ~ 'one class only|of the . categories' then
    perform common.refuse('CF004', format('"%s" cannot be classified: %s', left(relation, 100), v_failure),
      'Both classes must occur among the rows without nulls.');
  end if;
  perform common.refuse(
    'CF007',
    format('"%s" does not determine the coefficients: %s', left(relation, 100), v_failure),
    'Omit the column, or fit with a ridge penalty: ml.elastic_net_train with alpha 0 and a small lambda_value, or '
      || 'ml.ridge_train.'
  );
end;
$$;

comment on function ml._fit_failed(text, text) is $$
Raises the failure of a fit as an error: CF004 (too few rows, one class) or CF007 (constant, collinear, separated).
$$;

grant execute on function ml._fit_failed(text, text) to insights_analyst, insights_admin, insights_worker;
