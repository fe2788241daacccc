create or replace function monitor._position_step(
  alike bigint[],
  place int[],
  listed float8[],
  clicked float8[],
  logs float8[],
  out likelihood float8,
  out gradient float8[],
  out information float8[]
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
-- Arrays as relations have no statistics.
set enable_mergejoin to off
set enable_nestloop to off
set work_mem to '64MB'
set jit to off
as $$
begin
  -- Within a group, a click is at place k with the probability p = rows at k × examination of k / the sum of these.
  with cell as (
    select given.alike, given.place, given.clicked, given.listed * exp(logs[given.place]) as weight
    from unnest(_position_step.alike, _position_step.place, _position_step.listed, _position_step.clicked)
      as given (alike, place, listed, clicked)
  ),

  share as materialized (
    select
      cell.alike, cell.place, cell.clicked, cell.weight / sum(cell.weight) over alike as p,
      sum(cell.clicked) over alike as clicks
    from cell
    window alike as (partition by cell.alike)
  ),

  pair as (
    select one.place as one, other.place as other, sum(one.clicks * one.p * other.p) as product
    from share as one
    join share as other using (alike)
    where one.place > 1
      and other.place >= one.place
      and one.clicks > 0
    group by one.place, other.place
  ),

  single as (
    select
      share.place,
      sum(share.clicked - share.clicks * share.p) as gradient,
      sum(share.clicks * share.p) as expected,
      sum(share.clicked * ln(share.p)) as likelihood
    from share
    where share.clicks > 0
    group by share.place
  )

  select
    (select sum(single.likelihood) from single),
    (select array_agg(single.gradient order by single.place) from single where single.place > 1),
    array(
      select case when one.place = other.place then one.expected else 0 end - coalesce(pair.product, 0)
      from single as one
      cross join single as other
      left join pair
        on pair.one = least(one.place, other.place)
        and pair.other = greatest(one.place, other.place)
      where one.place > 1
        and other.place > 1
      order by one.place, other.place
    )
  into likelihood, gradient, information;
end;
$$;

comment on function monitor._position_step(bigint[], int[], float8[], float8[], float8[]) is $$
@behavior -*
Returns the conditional log-likelihood of the examination of ranks, its gradient, and the information matrix.
One element per group of equal rows and place, which is the number of a rank in `logs`, of which the first is 0.
$$;

grant execute on function monitor._position_step(bigint[], int[], float8[], float8[], float8[]) to insights_reader;
