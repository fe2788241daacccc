create or replace function track._erase_event_types(event_types int[])
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type_id int;
  v_deleted bigint := 0;
begin
  for v_type_id in
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_erase_event_types.event_types)
      -- As messages enter them, so that the next message with the name enters the same.
      and event_type.description is null
      and event_type.purpose = 'analytics'
      and event_type.allowed_properties is not distinct from (select setting.allowed_properties from track.setting)
      and not (event_type.opens_view or event_type.is_heartbeat or event_type.is_automatic)
      and num_nonnulls(
        event_type.merged_event_type_id, event_type.target_event_type_id, event_type.former_event_type_id
      ) = 0
    order by event_type.event_type_id
  loop
    begin
      delete from track.event_type where event_type.event_type_id = v_type_id;
      v_deleted := v_deleted + 1;
    exception
      when foreign_key_violation then null;
    end;
  end loop;
  return v_deleted;
end;
$$;

comment on function track._erase_event_types(int[]) is $$
Deletes event types that only messages have named, unless something refers to them. Returns their number.
$$;
