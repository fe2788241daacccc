create or replace function track._export_rollups(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with step as materialized (
      select own.*
      from track.step as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'event', event_type.name,
        'is_automatic', step.is_automatic,
        'since', step.since,
        'occurred_at', to_jsonb(step.occurred_at),
        'items', (
          select jsonb_agg(item.external_id order by listed.position)
          from unnest(step.item_ids) with ordinality as listed (item_id, position)
          left join track.item on item.item_id = listed.item_id
        )
      )
      order by event_type.name, step.since, step.is_automatic
    )
    from step
    join track.event_type using (event_type_id)
  );
  return next privacy.exported_rows('track.step', v_rows);
  v_rows := (
    with stored as materialized (
      select own.*
      from track.step_value as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'event', event_type.name,
        'property', declared.property,
        'is_automatic', stored.is_automatic,
        'since', stored.since,
        'values', (
          select jsonb_agg(property_value.value order by listed.position)
          from unnest(stored.value_ids) with ordinality as listed (value_id, position)
          left join track.property_value on property_value.value_id = listed.value_id
        )
      )
      order by event_type.name, declared.property, stored.since, stored.is_automatic
    )
    from stored
    join track.declared_property as declared using (property_id)
    join track.event_type using (event_type_id)
  );
  return next privacy.exported_rows('track.step_value', v_rows);
  return next privacy.exported_rows(
    'track.presence',
    (
      select jsonb_agg(
        jsonb_build_object('event', by_type.event, 'days', by_type.days) order by by_type.event nulls first
      )
      from (
        -- Null: any event that is not automatic.
        select event_type.name as event, jsonb_agg(presence.day order by presence.day) as days
        from track.presence
        left join track.event_type using (event_type_id)
        where presence.block = subject.person_id / 4096
          and get_bit(presence.people, (subject.person_id % 4096)::int) = 1
        group by event_type.name
      ) as by_type
    )
  );
  return next privacy.exported_rows(
    'track.value_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'event', by_value.event, 'property', by_value.property, 'value', by_value.value, 'days', by_value.days
        )
        order by by_value.event, by_value.property, by_value.value
      )
      from (
        select
          event_type.name as event, declared.property, property_value.value,
          jsonb_agg(present.day order by present.day) as days
        from track.value_presence as present
        join track.declared_property as declared using (property_id)
        join track.event_type using (event_type_id)
        left join track.property_value using (value_id)
        where present.part = subject.person_id / 16384
          and get_bit(present.people, (subject.person_id % 16384)::int) = 1
        group by event_type.name, declared.property, property_value.value
      ) as by_value
    )
  );
  return next privacy.exported_rows(
    'track.item_month',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.people, (subject.person_id % 32768)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.item_month as used
      join track.item using (item_id)
      where used.part = subject.person_id / 32768
        and (subject.person_id % 32768)::smallint = any (used.people)
    )
  );
  return next privacy.exported_rows(
    'track.course_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.members, (subject.person_id % 4096)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.course_presence as used
      join track.item using (item_id)
      where used.block = subject.person_id / 4096
        and get_bit(used.people, (subject.person_id % 4096)::int) = 1
    )
  );
end;
$$;

comment on function track._export_rollups(privacy.subject) is $$
Returns what is derived from the events of a person, with days and names in place of bits, for `track.export`.
$$;

create or replace function track._days_of_bits(days int)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select coalesce(jsonb_agg(day order by day) filter (where days & (1 << (day - 1)) <> 0), '[]')
  from generate_series(1, 31) as day;
end;

comment on function track._days_of_bits(int) is $$
Returns the days of the month of a number of `track.item_month.days` as a list.
$$;
