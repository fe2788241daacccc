create or replace function track._begin_allowing()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Waits for the batches that read the former list; later ones wait here. So `track.apply_allow_lists` finds all
  -- events that were stored by the former list.
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  -- Fails batches whose snapshot is older: see track._refuse_old_names.
  update track.setting set only_row = true;
end;
$$;

comment on function track._begin_allowing() is $$
Begins a change of an allow-list: waits for the batches that are being stored.
$$;

create or replace function track._checked_names(names text[], argument text)
returns text[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
begin
  if names is null then
    perform common.refuse(
      'CF001', format('%s is null', argument), format('Give a list of names, such as {plan,"form.step"}; {} for none.')
    );
  end if;
  if cardinality(names) > 1000 then
    perform common.refuse(
      'CF008', format('%s has %s names', argument, cardinality(names)), 'A list has 1000 at most.'
    );
  end if;
  select coalesce(name, 'null') into v_wrong
  from unnest(names) as name
  where length(name) between 1 and 200 is not true
  limit 1;
  if found then
    perform common.refuse(
      'CF001', format('a name in %s is "%s"', argument, left(v_wrong, 100)), 'A name has 1 to 200 characters.'
    );
  end if;
  return array(select distinct name from unnest(names) as name order by name);
end;
$$;

comment on function track._checked_names(text[], text) is $$
Returns names without repetitions, in order. Errors: CF001 for null, an empty or a long name, CF008 for more than 1000.
$$;

create or replace function track._change_allowed(event_name text, allow text[], disallow text[])
returns text[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type constant track.event_type := track._known_event_type(_change_allowed.event_name);
  v_type_id constant int := coalesce(v_type.merged_event_type_id, v_type.event_type_id);
  v_former text[];
  v_names text[];
begin
  perform track._begin_allowing();
  if v_type.name = 'Segment Consent Preference Updated' then
    perform common.refuse(
      'CF001', format('the properties of "%s" are always stored', v_type.name), 'They are the evidence of a decision.'
    );
  end if;
  select event_type.allowed_properties into v_former
  from track.event_type
  where event_type.event_type_id = v_type_id
  for no key update;

  if disallow is not null and v_former is null then
    perform common.refuse(
      'CF001', format('event "%s" has no list of allowed properties', left(v_type.name, 100)),
      'All are allowed. List those that must be stored, by track.allow_properties.'
    );
  end if;
  v_names := track._checked_names(
    case
      when allow is not null then coalesce(v_former, '{}') || allow
      when disallow is not null then array(select unnest(v_former) except select unnest(disallow))
    end,
    'properties'
  );
  update track.event_type
  set allowed_properties = v_names
  where event_type.event_type_id = v_type_id;

  insert into track.disallowed_month (month)
  select months.month from track._event_months() as months (month)
  on conflict (month) do nothing;
  return v_names;
end;
$$;

comment on function track._change_allowed(text, text[], text[]) is $$
Adds names to the allow-list of an event, or removes names from it, and queues its months. Returns the list.
$$;
