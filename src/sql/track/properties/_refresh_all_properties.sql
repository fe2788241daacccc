create or replace function track._refresh_properties(most_people int)
returns int
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_declared track.declared_property;
  v_picked bigint[];
  v_property record;
begin
  -- One refresh at a time. Under the lock, each refresh before this one has not stored values of a new declaration, and
  -- each later one does, so that the people of the journeys are all who are missing.
  perform pg_advisory_xact_lock(hashtext('track.refresh'));
  -- A declaration may have been made at the same time as a merge of its event.
  if exists (select from track.declared_property as declared where not declared.is_queued) then
    perform track._copy_declarations();
  end if;
  for v_declared in select declared.* from track.declared_property as declared where not declared.is_queued loop
    update track.declared_property set is_queued = true where declared_property.property_id = v_declared.property_id;
    insert into track.stale_property (person_id, property_id)
    select distinct step.person_id, v_declared.property_id
    from track.step
    where step.event_type_id = v_declared.event_type_id;
  end loop;

  v_picked := array(
    select distinct stale_property.person_id
    from track.stale_property
    order by stale_property.person_id
    limit most_people
  );
  for v_property in
    with taken as (
      delete from track.stale_property
      where stale_property.person_id = any (v_picked)
      returning stale_property.property_id, stale_property.person_id
    )
    select taken.property_id, array_agg(taken.person_id) as people
    from taken
    group by taken.property_id
    order by taken.property_id
  loop
    perform track._refresh_values(
      '{}',
      v_property.people,
      array_fill('-infinity'::date, array[cardinality(v_property.people)]),
      array_fill('infinity'::date, array[cardinality(v_property.people)]),
      v_property.property_id
    );
  end loop;
  return cardinality(v_picked);
end;
$$;

comment on function track._refresh_properties(int) is $$
Stores the values of new declarations (`track.declare_property`) for at most `most_people` people.
Returns their number; 0 when nothing is left. Queues the people of declarations that are not queued yet.
$$;

create or replace function track._refresh_all_properties(most_people int)
returns track.refreshed
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int := most_people;
  v_people int;
  v_error text;
begin
  while v_most > 0 loop
    begin
      v_people := track._refresh_properties(v_most);
      return row('track.property', v_people, 0, null)::track.refreshed;
    exception
      -- An array of the values of many people may be too long.
      when data_exception or program_limit_exceeded then
        get stacked diagnostics v_error = message_text;
    end;
    v_most := v_most / 2;
  end loop;
  raise warning 'the values of declared properties cannot be stored: %', common.without_values(v_error);
  return row('track.property', 0, 1, common.without_values(v_error))::track.refreshed;
end;
$$;

comment on function track._refresh_all_properties(int) is $$
Stores the values of new declarations for at most `most_people` people; for fewer when their values are too many.
$$;
