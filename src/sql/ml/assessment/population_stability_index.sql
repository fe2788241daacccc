create or replace function ml.population_stability_index(expected float8[], actual float8[])
returns float8
language plpgsql
immutable
strict
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_expected_total float8;
  v_actual_total float8;
begin
  if cardinality(expected) <> cardinality(actual) or cardinality(expected) = 0
    or array_ndims(expected) > 1 or array_ndims(actual) > 1
  then
    perform common.refuse('CF001', format('%s bins are held against %s', cardinality(actual), cardinality(expected)),
      'Count both populations in the same bins, at least one, in arrays of one dimension.');
  elsif exists (select from unnest(expected || actual) as value
    where value is null or value < 0 or value > 1e300) then
    perform common.refuse('CF001', 'a bin holds null, a negative or a number above 1e300',
      'Give counts or shares, 0 for an empty bin.');
  end if;
  v_expected_total := (select sum(value) from unnest(expected) as value);
  v_actual_total := (select sum(value) from unnest(actual) as value);
  if v_expected_total = 0 or v_actual_total = 0 then
    perform common.refuse('CF004', 'a population is empty', 'Both need rows in at least one bin.');
  end if;
  return (
    select sum((bin.actual - bin.expected) * ln(bin.actual / bin.expected))
    from (
      select greatest(old / v_expected_total, 0.0001) as expected, greatest(new / v_actual_total, 0.0001) as actual
      from unnest(expected, actual) as pair (old, new)
    ) as bin
  );
end;
$$;

comment on function ml.population_stability_index(float8[], float8[]) is $$
How far a population has moved: the sum over bins of (actual − expected) · ln(actual / expected), of shares.
Both arrays count the same bins, as numbers of rows or shares; an empty bin counts as a share of 0.0001. Below 0.1 is
stable, from 0.25 on the population is another one. Symmetric, 0 for equal shares. Null when either is null. Errors:
CF001 (bins), CF004 (an empty population).
Source: Siddiqi, Credit Risk Scorecards, Wiley, 2006; it is Jeffreys' divergence of the two distributions.
$$;

grant execute on function ml.population_stability_index(float8[], float8[]) to insights_reader, insights_analyst,
  insights_admin, insights_worker;
