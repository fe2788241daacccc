create or replace function track._refresh_presence(removed track.activity[], added track.activity[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_removed track.activity[] := removed;
  v_added track.activity[] := added;
  v_counted_removed track.activity[];
  v_counted_added track.activity[];
  v_included_removed track.activity[];
  v_included_added track.activity[];
begin
  if removed is not distinct from added then
    return;
  end if;
  if v_kept > '-infinity' then
    v_removed := track._activity_since(v_kept, removed);
    v_added := track._activity_since(v_kept, added);
  end if;
  perform track._change_presence(v_removed, v_added);
  perform track._change_item_months(v_removed, v_added);
  perform track._change_course_presence(v_removed, v_added);

  v_counted_removed := track._activity_in_set('counted', v_removed, true);
  v_counted_added := track._activity_in_set('counted', v_added, true);
  v_included_removed := track._activity_in_set('excluded', v_removed, false);
  v_included_added := track._activity_in_set('excluded', v_added, false);
  perform track._change_item_sums(v_counted_removed, v_counted_added);
  perform track._change_type_sums('counted', v_counted_removed, v_counted_added);
  perform track._change_type_sums('excluded', v_included_removed, v_included_added);
end;
$$;

comment on function track._refresh_presence(track.activity[], track.activity[]) is $$
Applies a change of stored activity to presence and sums: the activity of people on some days before and after it.
$$;

create or replace function track._activity_in_set(set_name text, activity track.activity[], is_member boolean)
returns track.activity[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select entry
    from unnest(activity) as entry
    left join track.person_set_block as stored
      on stored.name = _activity_in_set.set_name
      and stored.block = entry.person_id / 4096
    where is_member = (coalesce(get_bit(stored.people, (entry.person_id % 4096)::int), 0) <> 0)
  );
end;
$$;

comment on function track._activity_in_set(text, track.activity[], boolean) is $$
Returns the activity of the people who are, or are not, in a set as of the last refresh of the sets.
$$;
