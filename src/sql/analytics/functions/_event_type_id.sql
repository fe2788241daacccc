create or replace function analytics._event_type_id(event_name text)
returns int
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_event_type_id int;
begin
  if _event_type_id.event_name is null then
    return 0;
  end if;
  if length(_event_type_id.event_name) > 200 then
    perform common.refuse(
      'CF008',
      format('event_name has %s characters', length(_event_type_id.event_name)),
      'The name of an event has 200 at most.'
    );
  end if;
  select coalesce(event_type.merged_event_type_id, event_type.event_type_id) into v_event_type_id
  from track.event_type
  where event_type.name = _event_type_id.event_name;
  if v_event_type_id is null then
    perform common.refuse(
      'CF002',
      format('there is no event "%s"', left(_event_type_id.event_name, 100)),
      coalesce(
        (
          select format('The most similar names are %s.', string_agg(format('"%s"', near.name), ', '))
          from (
            select event_type.name
            from track.event_type
            order by
              cardinality(array(
                select unnest(regexp_split_to_array(lower(event_type.name), '\W+'))
                intersect
                select unnest(regexp_split_to_array(lower(_event_type_id.event_name), '\W+'))
              )) desc,
              abs(length(event_type.name) - length(_event_type_id.event_name)),
              event_type.name
            limit 3
          ) as near
        ),
        'There are no events yet.'
      )
    );
  end if;
  return v_event_type_id;
end;
$$;

comment on function analytics._event_type_id(text) is $$
Returns the event type that a name means, after merges; 0 for null: any event that is not automatic.
Errors: CF002 for an unknown name (with the most similar ones), CF008 for a name of more than 200 characters.
$$;

grant execute on function analytics._event_type_id(text) to insights_reader;
