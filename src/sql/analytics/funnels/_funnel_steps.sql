create or replace function analytics._funnel_step(entry jsonb, name text, allowed text[], item text)
returns analytics.step_filter
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry constant jsonb := case
    when jsonb_typeof(entry) = 'string' then jsonb_build_object('event', entry)
    else entry
  end;
  v_wrong text;
  v_item constant text := coalesce(v_entry ->> 'item', _funnel_step.item);
  v_filter analytics.step_filter;
begin
  if jsonb_typeof(v_entry) is distinct from 'object' then
    perform common.refuse(
      'CF009',
      format('%s is %s', _funnel_step.name, left(coalesce(v_entry::text, 'null'), 100)),
      'Give the name of an event, or an object such as {"event": "Task Submitted", "item": "html"}.'
    );
  end if;
  select key into v_wrong
  from jsonb_object_keys(v_entry) as key
  where key <> all (allowed)
  order by key
  limit 1;
  if found then
    perform common.refuse(
      'CF009',
      format('%s has the unknown key "%s"', _funnel_step.name, left(v_wrong, 100)),
      format('The keys are %s.', array_to_string(allowed, ', '))
    );
  end if;
  if not v_entry ? 'event' then
    perform common.refuse(
      'CF009', format('%s has no event', _funnel_step.name), 'Give its name, or null for any that is not automatic.'
    );
  end if;
  v_wrong := case
    when jsonb_typeof(v_entry -> 'event') not in ('string', 'null') then 'event'
    when jsonb_typeof(v_entry -> 'item') not in ('string', 'null') then 'item'
    when jsonb_typeof(v_entry -> 'optional') <> 'boolean' then 'optional'
    when coalesce(v_entry ->> 'from', '1') !~ '^[0-9]{1,3}$' then 'from'
    when coalesce(v_entry ->> 'to', '1') !~ '^[0-9]{1,3}$' then 'to'
    when v_entry ? 'property'
      and (
        jsonb_typeof(v_entry -> 'property') <> 'object'
        or array(select key from jsonb_object_keys(v_entry -> 'property') as key order by key) <> '{is,name}'
        or jsonb_typeof(v_entry -> 'property' -> 'name') <> 'string'
        or length(v_entry -> 'property' ->> 'name') not between 1 and 200
        or jsonb_typeof(v_entry -> 'property' -> 'is') not in ('string', 'number', 'boolean')
      ) then 'property'
  end;
  if v_wrong is not null then
    perform common.refuse(
      'CF009',
      format('"%s" of %s is %s', v_wrong, _funnel_step.name, left((v_entry -> v_wrong)::text, 100)),
      case v_wrong
        when 'event' then 'Give the name of an event, or null for any that is not automatic.'
        when 'item' then 'Give the external id of an item.'
        when 'optional' then 'Give true or false.'
        when 'property' then 'Give {"name": a string, "is": a string, a number, true or false}.'
        else 'Give the number of a step.'
      end
    );
  end if;

  v_filter.event_type_id := analytics._event_type_id(v_entry ->> 'event');
  v_filter.event := coalesce(v_entry ->> 'event', 'any event');
  v_filter.item := v_item;
  v_filter.item_id := analytics._item_id(v_item);
  v_filter.items := case
    when v_item is not null then array(
      select ancestor.item_id
      from track.item_ancestor as ancestor
      where ancestor.ancestor_item_id = v_filter.item_id
    )
  end;
  v_filter.property := v_entry -> 'property';
  v_filter.is_optional := coalesce((v_entry ->> 'optional')::boolean, false);
  v_filter.first_step := (v_entry ->> 'from')::int;
  v_filter.last_step := (v_entry ->> 'to')::int;
  return v_filter;
end;
$$;

comment on function analytics._funnel_step(jsonb, text, text[], text) is $$
Returns a step, or an exclusion, of a funnel.
`name`: its name in errors; `item`: that of steps without one of their own.
Errors: CF002 for an unknown event or item, CF009 for another form.
$$;

grant execute on function analytics._funnel_step(jsonb, text, text[], text) to insights_reader;

create or replace function analytics._funnel_steps(steps jsonb, exclusions jsonb, step_order text, item text)
returns analytics.step_filter[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_steps analytics.step_filter[] := '{}';
  v_step analytics.step_filter;
  v_same analytics.step_filter;
  v_entry record;
  v_count int;
begin
  if step_order is null or step_order not in ('ordered', 'strict', 'unordered') then
    perform common.refuse(
      'CF001',
      format('step_order is "%s"', left(step_order, 100)),
      'Use ordered, strict (without another event between two steps) or unordered.'
    );
  end if;
  if jsonb_typeof(steps) is distinct from 'array' or jsonb_typeof(coalesce(exclusions, '[]')) <> 'array' then
    perform common.refuse(
      'CF009',
      'steps and exclusions are not lists',
      'Give JSON arrays, such as ["Task Started", {"event": "Task Submitted", "optional": true}].'
    );
  end if;
  v_count := jsonb_array_length(steps);
  if v_count not between 2 and 20 or jsonb_array_length(coalesce(exclusions, '[]')) > 10 then
    perform common.refuse(
      'CF008',
      format(
        'the funnel has %s steps and %s exclusions', v_count, jsonb_array_length(coalesce(exclusions, '[]'))
      ),
      'A funnel has 2 to 20 steps, and at most 10 exclusions.'
    );
  end if;

  for v_entry in
    select listed.entry, listed.number
    from jsonb_array_elements(steps) with ordinality as listed (entry, number)
    order by listed.number
  loop
    v_step := analytics._funnel_step(
      v_entry.entry, 'step ' || v_entry.number, '{event,item,property,optional}', _funnel_steps.item
    );
    v_step.first_step := v_entry.number;
    v_step.last_step := v_entry.number;
    v_step.is_exclusion := false;
    if v_step.is_optional and (v_entry.number = 1 or step_order <> 'ordered') then
      perform common.refuse(
        'CF001',
        format('step %s is optional', v_entry.number),
        'The first step, and the steps of a strict or unordered funnel, cannot be optional.'
      );
    end if;
    v_steps := v_steps || v_step;
  end loop;

  for v_entry in
    select listed.entry, listed.number
    from jsonb_array_elements(coalesce(exclusions, '[]')) with ordinality as listed (entry, number)
    order by listed.number
  loop
    v_step := analytics._funnel_step(
      v_entry.entry, 'exclusion ' || v_entry.number, '{event,item,property,from,to}', _funnel_steps.item
    );
    v_step.first_step := coalesce(v_step.first_step, 1);
    v_step.last_step := coalesce(v_step.last_step, v_count);
    v_step.is_exclusion := true;
    if v_step.first_step < 1 or v_step.last_step > v_count or v_step.first_step >= v_step.last_step then
      perform common.refuse(
        'CF001',
        format('exclusion %s is from step %s to step %s', v_entry.number, v_step.first_step, v_step.last_step),
        format('Give steps from 1 to %s, the first one before the other.', v_count)
      );
    end if;
    if step_order = 'unordered' and (v_step.first_step > 1 or v_step.last_step < v_count) then
      perform common.refuse(
        'CF001',
        format('exclusion %s is from step %s to step %s', v_entry.number, v_step.first_step, v_step.last_step),
        'Steps that can be done in any order have no steps between them: exclude from the first to the last one.'
      );
    end if;
    select step.* into v_same
    from unnest(v_steps) as step
    where not step.is_exclusion
      and step.event_type_id = v_step.event_type_id
      and (step.items is null or v_step.items is null or step.items && v_step.items)
      and (step.property is null or v_step.property is null or step.property = v_step.property)
    limit 1;
    if found then
      perform common.refuse(
        'CF001',
        format('exclusion %s, "%s", is also step %s', v_entry.number, left(v_step.event, 100), v_same.first_step),
        'An event that is a step cannot be excluded. Give another event, or another item.'
      );
    end if;
    v_steps := v_steps || v_step;
  end loop;
  return v_steps;
end;
$$;

comment on function analytics._funnel_steps(jsonb, jsonb, text, text) is $$
Returns the steps of a funnel, and after them its exclusions.
Errors: CF001 for another order, an optional step that cannot be, and an exclusion that is a step or has other steps;
CF002 for an unknown event or item, CF008 for a wrong number of steps, CF009 for another form.
$$;

grant execute on function analytics._funnel_steps(jsonb, jsonb, text, text) to insights_reader;

create or replace function analytics._conversion_window(conversion_window interval)
returns interval
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set intervalstyle to 'postgres'
as $$
begin
  if conversion_window is null or not isfinite(conversion_window)
    or conversion_window < '1 second' or conversion_window > '10 years'
  then
    perform common.refuse(
      'CF001',
      format('conversion_window is %s', coalesce(left(conversion_window::text, 100), 'null')),
      'Give the time from the first step to the last one, from 1 second to 10 years. The usual one is 14 days.'
    );
  end if;
  return make_interval(secs => extract(epoch from conversion_window)::float8);
end;
$$;

comment on function analytics._conversion_window(interval) is $$
Returns a conversion window as a number of seconds: days of 24 hours.
Errors: CF001 for a window below 1 second or above 10 years.
$$;

grant execute on function analytics._conversion_window(interval) to insights_reader;

create or replace function analytics._last_step(filters analytics.step_filter[], from_step int, to_step int)
returns int
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_count constant int := (select count(*) from unnest(filters) as filter where not filter.is_exclusion);
  v_to_step constant int := coalesce(
    _last_step.to_step,
    (
      select max(filter.first_step)
      from unnest(filters) as filter
      where not filter.is_exclusion
        and not filter.is_optional
    )
  );
begin
  if _last_step.from_step is null or _last_step.from_step < 1 or v_to_step > v_count
    or _last_step.from_step >= v_to_step
    or (filters[_last_step.from_step]).is_optional or (filters[v_to_step]).is_optional
  then
    perform common.refuse(
      'CF001',
      format('from_step is %s and to_step %s', coalesce(_last_step.from_step::text, 'null'), v_to_step),
      format('Give two steps from 1 to %s that are not optional, the first one before the other.', v_count)
    );
  end if;
  return v_to_step;
end;
$$;

comment on function analytics._last_step(analytics.step_filter[], int, int) is $$
Returns the step to which people are counted: `to_step`, or null for the last one that is not optional.
Errors: CF001 unless both are steps that are not optional, in their order.
$$;

grant execute on function analytics._last_step(analytics.step_filter[], int, int) to insights_reader;
