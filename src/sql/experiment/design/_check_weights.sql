create or replace function experiment._check_weights(weights float8[], variations int)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_sum float8;
begin
  if coalesce(cardinality(_check_weights.weights), 0) <> _check_weights.variations
    or array_ndims(_check_weights.weights) <> 1 or array_lower(_check_weights.weights, 1) <> 1
  then
    perform common.refuse(
      'CF001',
      format('there are %s weights for %s variations', coalesce(cardinality(_check_weights.weights), 0),
        _check_weights.variations),
      'Give one weight for each variation, in an array that begins at 1.'
    );
  elsif exists (
    select from unnest(_check_weights.weights) as given (weight)
    where given.weight is null or not (given.weight >= 0 and given.weight <= 1)
  ) then
    perform common.refuse('CF001', format('the weights are %s', left(_check_weights.weights::text, 100)),
      'Give numbers from 0 to 1.');
  end if;
  v_sum := (select sum(given.weight) from unnest(_check_weights.weights) as given (weight));
  if abs(v_sum - 1) > 1e-9 then
    perform common.refuse('CF001', format('the weights add up to %s', v_sum::numeric), 'They add up to 1.');
  end if;
end;
$$;

comment on function experiment._check_weights(float8[], int) is $$
@behavior -*
Raises CF001 unless there is one weight for each variation and their sum is 1.
$$;
