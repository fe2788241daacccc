create or replace function analytics._people_of_items(items int[], since timestamptz, until timestamptz)
returns table (block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_day constant date := (_people_of_items.since at time zone 'UTC')::date;
  v_end_day constant date := (_people_of_items.until at time zone 'UTC')::date + 1;
begin
  return query
  select (used.person_id / 4096)::int, bit_or(track.person_bit(used.person_id))
  from (
    select item_month.part::bigint * 32768 + listed.person as person_id
    from track.item_month
    cross join lateral unnest(item_month.people) as listed (person)
    where item_month.item_id = any (_people_of_items.items)
      and item_month.month >= date_trunc('month', v_first_day::timestamp)::date
      and item_month.month < v_end_day

    union

    select queued.person_id
    from unnest((track.queued_days(v_first_day, v_end_day)).people) as queued (person_id)
  ) as used
  group by 1;
end;
$$;

comment on function analytics._people_of_items(int[], timestamptz, timestamptz) is $$
Returns the people who may have events of these items in a period, one bit per person.
Those who used one of them in a month of the period, and all who are queued for a refresh: a first filter, which leaves
out no person with such events.
$$;

grant execute on function analytics._people_of_items(int[], timestamptz, timestamptz) to insights_reader;
