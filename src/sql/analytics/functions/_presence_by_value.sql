create or replace function analytics._presence_by_value(
  event_type_id int,
  bounds timestamptz[],
  item_id bigint,
  among text,
  breakdown text,
  top_values int,
  known_values text[],
  smallest_group int
)
returns table (value_key text, bucket int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_property constant text := substr(_presence_by_value.breakdown, length('property.') + 1);
  v_items bigint[];
  v_keys text[];
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _presence_by_value.breakdown is null and _presence_by_value.among is null
    and _presence_by_value.smallest_group is null
  then
    return query
    select 'none', present.bucket, present.block, present.people
    from analytics._presence(
      _presence_by_value.event_type_id, _presence_by_value.bounds, _presence_by_value.item_id
    ) as present;
    return;
  end if;

  if _presence_by_value.breakdown like 'property.%' and _presence_by_value.known_values is null then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_presence_by_value.breakdown, 100)),
      'Use "set.<family or name of sets of people>" or "trait.<name>".'
    );
  end if;
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(everyone.block), array_agg(everyone.people) into v_blocks, v_people
  from analytics._among(_presence_by_value.among, _presence_by_value.smallest_group) as everyone;

  if _presence_by_value.breakdown like 'property.%' then
    v_items := array(
      select ancestor.item_id
      from track.item_ancestor as ancestor
      where ancestor.ancestor_item_id = _presence_by_value.item_id
    );
    return query
    select by_block.value_key, by_block.bucket, by_block.block, by_block.people & by_block.included
    from (
      select
        by_person.value_key,
        by_person.bucket,
        among.block,
        bit_or(track.person_bit(by_person.person_id)) as people,
        among.people & ~coalesce(excluded.people, v_no_people) as included
      from (
        select
          case
            when stated.value is null then 'none'
            when stated.value = any (_presence_by_value.known_values) then '=' || stated.value
            else 'other'
          end as value_key,
          stated.bucket,
          stated.person_id
        from (
          select
            left(event.properties ->> v_property, 200) as value,
            width_bucket(event.occurred_at, _presence_by_value.bounds) as bucket,
            event.person_id
          from track.event
          join track.event_type on event_type.event_type_id = event.event_type_id
          join track.source on source.source_id = event.source_id
          where event.occurred_at >= _presence_by_value.bounds[1]
            and event.occurred_at < _presence_by_value.bounds[cardinality(_presence_by_value.bounds)]
            and case
              when _presence_by_value.event_type_id <> 0 then event.event_type_id = _presence_by_value.event_type_id
              else not (event_type.is_automatic or source.is_automatic)
            end
            and (_presence_by_value.item_id is null or event.item_id = any (v_items))
            and event.person_id <> 0
        ) as stated
        group by 1, 2, 3
      ) as by_person
      join unnest(v_blocks, v_people) as among (block, people) on among.block = by_person.person_id / 4096
      left join track.person_set_blocks('excluded') as excluded on excluded.block = among.block
      group by by_person.value_key, by_person.bucket, among.block, among.people, excluded.people
    ) as by_block
    where bit_count(by_block.people & by_block.included) > 0;
    return;
  end if;

  if _presence_by_value.breakdown is null then
    v_keys := array_fill('none'::text, array[coalesce(cardinality(v_blocks), 0)]);
  else
    select array_agg(named.value_key), array_agg(named.block), array_agg(named.people)
    into v_keys, v_blocks, v_people
    from (
      select
        case
          when of_value.is_other then 'other'
          when of_value.value is null then 'none'
          else '=' || of_value.value
        end as value_key,
        of_value.block,
        of_value.people & among.people as people
      from analytics._people_by_value(
        _presence_by_value.breakdown, _presence_by_value.top_values, _presence_by_value.smallest_group
      ) as of_value
      join unnest(v_blocks, v_people) as among (block, people) on among.block = of_value.block
    ) as named;
  end if;

  return query
  select named.value_key, present.bucket, present.block, present.people & named.people
  from analytics._presence(
    _presence_by_value.event_type_id, _presence_by_value.bounds, _presence_by_value.item_id
  ) as present
  join unnest(v_keys, v_blocks, v_people) as named (value_key, block, people) on named.block = present.block
  where bit_count(present.people & named.people) > 0;
end;
$$;

comment on function analytics._presence_by_value(int, timestamptz[], bigint, text, text, int, text[], int) is $$
Returns the people of `among` with an event in each bucket, as `analytics._presence`, by value.
`value_key`: `=` and the value, `other` for other values, `none` for people or events without one, and without a
breakdown. `breakdown`: that of `analytics._people_by_value`, or `property.<name>` for a property of the events, read
from the events, of which `known_values` are named (null: refused). `smallest_group`: counted people only; null: all
people who are not excluded.
$$;

grant execute on function analytics._presence_by_value(int, timestamptz[], bigint, text, text, int, text[], int)
to insights_reader;
