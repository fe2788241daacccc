create or replace function recommend._popularity(kind text default null)
returns table (item_id bigint, popularity float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_smallest_group constant int := (select smallest_group from analytics.setting);
begin
  return query
  with liked as materialized (
    select rows.item_id, rows.strength, rows.last_at
    from recommend._training_rows(_popularity.kind) as rows
  ),

  -- Halved since the latest use of all: the shares do not depend on the time of the refresh.
  counted as (
    select
      liked.item_id,
      sum(
        liked.strength::float8
          * power(0.5::float8, least(extract(epoch from latest.at - liked.last_at)::float8 / (30 * 86400), 100))
      ) as people
    from liked
    cross join (select max(known.last_at) as at from liked as known) as latest
    group by liked.item_id
    having count(*) >= v_smallest_group
  )

  select counted.item_id, counted.people / max(counted.people) over (partition by item.kind)
  from counted
  join track.item using (item_id);
end;
$$;

comment on function recommend._popularity(text) is $$
@behavior -*
Returns the popularity of the items of a kind, or of all kinds, from 0 to 1 for the most popular item of its kind.
Popularity is the sum, over the people of `recommend._training_rows`, of the strength of their interest, at most 1,
halved every 30 days since their last use of the item (at most 100 times). The events of a person count at most as one.
Items with fewer than `analytics.setting.smallest_group` of these people are left out.
$$;
