create or replace function track._change_type_sums(
  set_name text, removed track.activity[], added track.activity[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  merge into track.presence
  using (
    select
      change.event_type_id, change.day, change.block,
      case _change_type_sums.set_name when 'excluded' then change.event_count else 0 end as event_count,
      case _change_type_sums.set_name when 'counted' then change.event_count else 0 end as counted_count
    from (
      select
        counted.event_type_id, signed.day, (signed.person_id / 4096)::int as block,
        sum(signed.sign * counted.event_count)::int as event_count
      from (
        select entry.*, 1 as sign from unnest(_change_type_sums.added) as entry where entry.event_count > 0
        union all
        select entry.*, -1 from unnest(_change_type_sums.removed) as entry where entry.event_count > 0
      ) as signed
      cross join lateral (
        values (signed.event_type_id, signed.event_count), (0, signed.event_count - signed.automatic_count)
      ) as counted (event_type_id, event_count)
      group by 1, 2, 3
      having sum(signed.sign * counted.event_count) <> 0
    ) as change
  ) as change
  on presence.event_type_id = change.event_type_id
    and presence.day = change.day
    and presence.block = change.block
  when matched and presence.event_count + change.event_count = 0 and bit_count(presence.people) = 0 then delete
  when matched then
    update set
      event_count = presence.event_count + change.event_count,
      counted_count = presence.counted_count + change.counted_count
  when not matched and change.event_count > 0 then
    insert (event_type_id, day, block, people, event_count, counted_count)
    values (
      change.event_type_id, change.day, change.block, b'0'::bit(4096), change.event_count, change.counted_count
    );
end;
$$;

comment on function track._change_type_sums(text, track.activity[], track.activity[]) is $$
Subtracts events from a sum of `track.presence`, and adds others.
`set_name`: `counted` for the sum of the people in this set, `excluded` for that of the people who are not in it.
$$;
