create or replace function track._refresh_values(
  removed track.value_activity[],
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- Earlier days have no values: see track._keep_sums.
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_entered int[];
  v_added track.value_activity[];
begin
  v_entered := track._refresh_step_values(people, first_days, end_days, of_property);
  v_added := array(select track.stored_values(people, first_days, end_days, of_property));
  if removed is distinct from v_added then
    perform track._change_value_presence(
      array(select entry from unnest(removed) as entry where entry.day >= v_kept),
      array(select entry from unnest(v_added) as entry where entry.day >= v_kept)
    );
  end if;

  -- Values may be personal: they go with the last event that has them.
  delete from track.property_value
  where property_value.value_id in (
      select entry.value_id from unnest(removed) as entry
      union
      select unnest(v_entered)
    )
    and not exists (
      select
      from track.value_presence
      where value_presence.property_id = property_value.property_id
        and value_presence.value_id = property_value.value_id
    );
end;
$$;

comment on function track._refresh_values(track.value_activity[], bigint[], date[], date[], int) is $$
Recomputes the values of declared properties in the given days of people, after their journeys.
`removed`: their `track.stored_values` before the journeys were refreshed. `of_property` null: all properties.
$$;
