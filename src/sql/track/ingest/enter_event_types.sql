create or replace function track._enter_event_types(messages track.parsed_message[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  with named as (
    select distinct message.event_name as name
    from unnest(messages) as message
    where message.event_name is not null
  )

  insert into track.event_type (name, allowed_properties)
  select named.name, setting.allowed_properties
  from named
  cross join track.setting
  where not exists (select from track.event_type where event_type.name = named.name)
  order by named.name
  on conflict (name) do nothing;
end;
$$;

comment on function track._enter_event_types(track.parsed_message[]) is $$
Inserts event types with new names. They get the allow-list for new types.
$$;
