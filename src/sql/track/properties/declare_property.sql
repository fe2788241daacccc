create or replace function track.declare_property(event_name text, property text, most_values int default 50)
returns boolean
language plpgsql
volatile
-- A definer: it writes track.declared_property, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_type constant track.event_type := track._known_event_type(declare_property.event_name);
  v_type_id constant int := coalesce(v_type.merged_event_type_id, v_type.event_type_id);
  v_is_new boolean;
begin
  perform common.check_count('most_values', declare_property.most_values, 1, 1000);
  if coalesce(declare_property.property, '') = '' then
    perform common.refuse(
      'CF001',
      format('property is %s', case declare_property.property when '' then 'empty' else 'null' end),
      'Give the name of a property of the event, such as "plan".'
    );
  end if;
  if length(declare_property.property) > 200 then
    perform common.refuse(
      'CF008',
      format('property has %s characters', length(declare_property.property)),
      'The name of a declared property has 200 at most.'
    );
  end if;
  if (select count(*) from track.declared_property) >= 100
    and not exists (
      select
      from track.declared_property as known
      where known.event_type_id = v_type_id
        and known.property = declare_property.property
    )
  then
    perform common.refuse(
      'CF008',
      format('100 properties are declared, "%s" would be one more', left(declare_property.property, 100)),
      'Each one takes space for each event. Remove one by track.undeclare_property.'
    );
  end if;

  insert into track.declared_property (event_type_id, property, most_values)
  values (v_type_id, declare_property.property, declare_property.most_values)
  on conflict on constraint declared_property_event_type_id_property_key do update
  set most_values = excluded.most_values
  returning xmax = 0 into v_is_new;
  return v_is_new;
end;
$$;

comment on function track.declare_property(text, text, int) is $$
Declares a property of an event: its values are then maintained by the refresh, and breakdowns by it are fast.
Without, they are read from the events. `most_values`: how many values analyses show, those with the most events in the
period; the rest is `other`. A further call changes this number. True when the property was not declared before.
The stored events follow with the next calls of `track.refresh` (step `track.property`); until it has read all people,
analyses read the events as before. `track.undeclare_property` reverses it.
Errors: CF001 for an empty property or an invalid `most_values` (1 to 1000), CF002 for an unknown event, CF008 for a
property of more than 200 characters and for more than 100 properties.
$$;

grant execute on function track.declare_property(text, text, int) to insights_admin;
