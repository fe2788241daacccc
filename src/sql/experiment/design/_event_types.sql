create or replace function experiment._event_types(events text[])
returns int[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_unknown text;
begin
  if coalesce(cardinality(_event_types.events), 0) = 0 then
    return null;
  elsif cardinality(_event_types.events) > 100 then
    perform common.refuse('CF008', format('%s events are given', cardinality(_event_types.events)),
      'A metric has at most 100.');
  end if;
  select coalesce(given.name, 'null') into v_unknown
  from unnest(_event_types.events) with ordinality as given (name, place)
  where not exists (select from track.event_type as known where known.name = given.name)
  order by given.place
  limit 1;
  if found then
    perform experiment._refuse_unknown_name(
      'event',
      v_unknown,
      array(select known.name from track.event_type as known order by known.name limit 1000),
      'Give the name of an event, as in track.event_type.'
    );
  end if;
  -- A merged type is a further name of the other one.
  return array(
    select distinct coalesce(known.merged_event_type_id, known.event_type_id)
    from track.event_type as known
    where known.name = any (_event_types.events)
    order by 1
  );
end;
$$;

comment on function experiment._event_types(text[]) is $$
@behavior -*
Returns the types of events by their names, in order and without repetitions; null for none.
Errors: CF002 for an unknown event (names the nearest), CF008 for more than 100.
$$;
