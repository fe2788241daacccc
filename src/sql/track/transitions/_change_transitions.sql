create or replace function track._change_transitions(removed track.transition[], added track.transition[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if removed is not distinct from added then
    return;
  end if;

  with by_person as (
    select
      signed.month, signed.source_item_id, signed.target_item_id, signed.person_id,
      sum(signed.transition_count) as transition_count,
      sum(signed.elapsed) as elapsed,
      bool_or(signed.is_added)::int - bool_or(not signed.is_added)::int as person_count
    from (
      select *, true as is_added
      from unnest(_change_transitions.added)
      union all
      select
        entry.person_id, entry.month, entry.source_item_id, entry.target_item_id, -entry.transition_count,
        -entry.elapsed, false
      from unnest(_change_transitions.removed) as entry
    ) as signed
    where signed.month >= (select setting.sums_kept_before from track.setting)
      -- Months that are queued are recomputed.
      and signed.month not in (select stale_month.month from track.stale_transition_month as stale_month)
    group by signed.month, signed.source_item_id, signed.target_item_id, signed.person_id
  )

  merge into track.item_transition
  using (
    select
      by_person.month, by_person.source_item_id, by_person.target_item_id,
      sum(by_person.transition_count)::bigint as transition_count,
      sum(by_person.person_count)::int as person_count,
      sum(by_person.elapsed)::bigint as elapsed
    from by_person
    group by by_person.month, by_person.source_item_id, by_person.target_item_id
    having sum(by_person.transition_count) <> 0 or sum(by_person.person_count) <> 0 or sum(by_person.elapsed) <> 0
  ) as change
  on item_transition.month = change.month
    and item_transition.source_item_id = change.source_item_id
    and item_transition.target_item_id = change.target_item_id
  when matched and item_transition.person_count + change.person_count = 0 then delete
  when matched then
    update set
      transition_count = item_transition.transition_count + change.transition_count,
      person_count = item_transition.person_count + change.person_count,
      elapsed = item_transition.elapsed + change.elapsed
  when not matched then
    insert (month, source_item_id, target_item_id, transition_count, person_count, elapsed)
    values (
      change.month, change.source_item_id, change.target_item_id, change.transition_count, change.person_count,
      change.elapsed
    );
end;
$$;

comment on function track._change_transitions(track.transition[], track.transition[]) is $$
Subtracts transitions of counted people from `track.item_transition`, and adds others.
Both contain all transitions of these people in the months of the change.
$$;
