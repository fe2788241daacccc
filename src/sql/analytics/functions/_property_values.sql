create or replace function analytics._property_values(
  event_type_id int,
  since timestamptz,
  until timestamptz,
  item_id bigint,
  among text,
  property text,
  top_values int,
  smallest_group int
)
returns text[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _property_values.item_id
  );
begin
  perform common.check_count('top_values', _property_values.top_values, 1, 100);

  return array(
    select by_value.value
    from (
      select counted.value, count(*) as person_count
      from (
        select distinct left(event.properties ->> _property_values.property, 200) as value, event.person_id
        from track.event
        join track.event_type on event_type.event_type_id = event.event_type_id
        join track.source on source.source_id = event.source_id
        where event.occurred_at >= _property_values.since
          and event.occurred_at < _property_values.until
          and case
            when _property_values.event_type_id <> 0 then event.event_type_id = _property_values.event_type_id
            else not (event_type.is_automatic or source.is_automatic)
          end
          and (_property_values.item_id is null or event.item_id = any (v_items))
          and event.properties ? _property_values.property
      ) as counted
      join analytics._among(_property_values.among, _property_values.smallest_group) as among
        on among.block = counted.person_id / 4096
        and get_bit(among.people, (counted.person_id % 4096)::int) <> 0
      left join track.person_set_blocks('excluded') as excluded on excluded.block = counted.person_id / 4096
      where counted.value is not null
        and counted.person_id <> 0
        and coalesce(get_bit(excluded.people, (counted.person_id % 4096)::int), 0) = 0
      group by counted.value
      having count(*) >= coalesce(_property_values.smallest_group, 1)
    ) as by_value
    order by
      analytics._shown(by_value.person_count, by_value.person_count, _property_values.smallest_group) desc,
      by_value.value
    limit _property_values.top_values
  );
end;
$$;

comment on function analytics._property_values(int, timestamptz, timestamptz, bigint, text, text, int, int) is $$
Returns the values of a property of events that most people had, the first one of most people.
Values are the text of the JSON value, at most 200 characters. `smallest_group`: of counted people, and only values that
at least as many had; null: of all people who are not excluded. Read from the events.
Errors: CF001 for an invalid number of values.
$$;

grant execute on function analytics._property_values(int, timestamptz, timestamptz, bigint, text, text, int, int)
to insights_reader;
