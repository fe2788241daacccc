create or replace function track._move_value_sums(set_name text, joined bigint[], departed bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := joined || departed;
begin
  if not exists (select from track.declared_property as declared where declared.is_queued) then
    return;
  end if;

  merge into track.value_presence as stored
  using (
    select
      entry.property_id, entry.value_id, entry.day, (entry.person_id / 16384)::int as part,
      sum(case when moved.has_joined then entry.event_count else -entry.event_count end)::int as event_count
    from track.stored_values(
      v_people,
      array_fill('-infinity'::date, array[cardinality(v_people)]),
      array_fill('infinity'::date, array[cardinality(v_people)])
    ) as entry
    join (
      select unnest(joined) as person_id, true as has_joined
      union all
      select unnest(departed), false
    ) as moved on moved.person_id = entry.person_id
    group by 1, 2, 3, 4
  ) as change
  on stored.property_id = change.property_id
    and stored.value_id = change.value_id
    and stored.day = change.day
    and stored.part = change.part
  when matched and change.event_count <> 0 then
    update set
      event_count = stored.event_count - case set_name when 'excluded' then change.event_count else 0 end,
      counted_count = stored.counted_count + case set_name when 'counted' then change.event_count else 0 end;
end;
$$;

comment on function track._move_value_sums(text, bigint[], bigint[]) is $$
Changes the sums of `track.value_presence` for people who joined or left the set `counted` or `excluded`.
Their bits stay, so that there is a row for each of their events.
$$;
