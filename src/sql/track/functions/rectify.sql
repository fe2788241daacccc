create or replace function track._rectify_traits(subject privacy.subject, traits jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_wrong text;
  v_owner constant bigint := (
    select entry.identity_id
    from unnest(subject.identity_ids, subject.kinds) as entry (identity_id, kind)
    order by entry.kind = 'user' desc, entry.identity_id
    limit 1
  );
  v_identities bigint[];
  v_names text[];
  v_times timestamptz[];
  v_values jsonb[];
  v_rows bigint;
  v_added bigint;
begin
  if jsonb_typeof(traits) <> 'object' then
    perform common.refuse('CF001', format('"traits" is a JSON %s', jsonb_typeof(traits)),
      'Give an object, such as {"plan": "pro", "city": null}; null deletes a trait.');
  end if;
  select entry.key into v_wrong
  from jsonb_each(traits) as entry
  where length(entry.key) not between 1 and 100
    or octet_length(entry.value::text) > 32768
  limit 1;
  if found then
    perform common.refuse('CF008', format('the trait "%s" is too long', left(v_wrong, 100)),
      'A name has 1 to 100 characters, a value at most 32768 bytes.');
  end if;

  -- The correct value applies from the first time on at which the trait was sent.
  select
    array_agg(said.identity_id), array_agg(said.name), array_agg(said.set_at), array_agg(said.value)
  into v_identities, v_names, v_times, v_values
  from (
    select known.identity_id, known.name, min(known.set_at) as set_at, traits -> known.name as value
    from (
      select trait.identity_id, trait.name, trait.set_at
      from track.trait
      where trait.person_id = subject.person_id
        and traits ? trait.name
      union all
      select history.identity_id, history.name, history.set_at[1]
      from track.trait_history as history
      where history.person_id = subject.person_id
        and traits ? history.name
    ) as known
    group by known.identity_id, known.name

    union all

    select v_owner, new.key, clock_timestamp(), new.value
    from jsonb_each(traits) as new
    where not exists (
        select 1 from track.trait where trait.person_id = subject.person_id and trait.name = new.key
      )
      and not exists (
        select 1 from track.trait_history as history
        where history.person_id = subject.person_id
          and history.name = new.key
      )
  ) as said
  where said.value <> 'null'
  having count(*) > 0;

  delete from track.trait_history as history
  where history.person_id = subject.person_id
    and traits ? history.name;
  get diagnostics v_rows = row_count;
  return next row('track.trait_history', v_rows, 'cleared')::privacy.erased;
  perform track._store_trait_history(
    array_fill(subject.person_id, array[cardinality(v_identities)]), v_identities, v_names, v_times, v_values
  )
  where v_identities is not null;

  delete from track.trait
  where trait.person_id = subject.person_id
    and traits -> trait.name = 'null';
  get diagnostics v_rows = row_count;
  return next row('track.trait', v_rows, 'deleted')::privacy.erased;
  update track.trait
  set value = traits -> trait.name
  where trait.person_id = subject.person_id
    and traits ? trait.name;
  get diagnostics v_rows = row_count;
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select subject.person_id, said.identity_id, said.name, said.value, said.set_at
  from unnest(v_identities, v_names, v_times, v_values) as said (identity_id, name, set_at, value)
  where not exists (
    select 1
    from track.trait
    where trait.person_id = subject.person_id
      and trait.name = said.name
  );
  get diagnostics v_added = row_count;
  return next row('track.trait', v_rows + v_added, 'cleared')::privacy.erased;
  perform track._enqueue('trait', array[subject.person_id]);
end;
$$;

comment on function track._rectify_traits(privacy.subject, jsonb) is $$
Corrects the traits of a person, also in the past: see `privacy.rectify`.
$$;

create or replace function track._rectify_enrolments(subject privacy.subject, enrolments jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_entry jsonb;
  v_given record;
  v_item_id bigint;
  v_rows bigint := 0;
  v_part bigint;
begin
  if jsonb_typeof(enrolments) <> 'array' or jsonb_array_length(enrolments) > 1000 then
    perform common.refuse('CF001', 'the enrolments are not a list of at most 1000',
      'Give a list such as [{"item": "course-1", "status": "completed", "ended_at": "2026-03-01T00:00:00Z"}].');
  end if;
  for v_entry in select entry.value from jsonb_array_elements(enrolments) as entry loop
    if jsonb_typeof(v_entry) <> 'object'
      or exists (
        select
        from jsonb_object_keys(v_entry) as key
        where key not in ('item', 'status', 'enrolled_at', 'ended_at', 'removed')
      )
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The keys are item, status, enrolled_at, ended_at and removed.');
    end if;
    select given.* into v_given
    from jsonb_to_record(v_entry) as given (
      item text, status text, enrolled_at timestamptz, ended_at timestamptz, removed boolean
    );
    if v_given.status not in ('active', 'completed', 'dropped')
      or not isfinite(v_given.enrolled_at)
      or v_entry ->> 'enrolled_at' is null and v_entry ? 'enrolled_at'
      or v_entry ->> 'status' is null and v_entry ? 'status'
    then
      perform common.refuse('CF001', format('the enrolment %s is invalid', left(v_entry::text, 100)),
        'The status is active, completed or dropped; enrolled_at is a time.');
    end if;
    v_item_id := (
      select coalesce(item.merged_item_id, item.item_id) from track.item where item.external_id = v_given.item
    );

    if v_given.removed then
      delete from track.enrolment
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    else
      update track.enrolment
      set
        status = coalesce(v_given.status, enrolment.status),
        enrolled_at = coalesce(v_given.enrolled_at, enrolment.enrolled_at),
        ended_at = case when v_entry ? 'ended_at' then v_given.ended_at else enrolment.ended_at end,
        -- No event of an import changes it any more.
        source_id = null
      where enrolment.person_id = subject.person_id
        and enrolment.item_id = v_item_id;
    end if;
    get diagnostics v_part = row_count;
    if v_part = 0 then
      perform common.refuse(
        'CF002', format('the person is not enrolled in "%s"', coalesce(left(v_given.item, 100), 'null')),
        'Enrolments are added by track.sync_enrolments.'
      );
    end if;
    v_rows := v_rows + v_part;
  end loop;
  perform track._enqueue('enrolment', array[subject.person_id]);
  return next row('track.enrolment', v_rows, 'cleared')::privacy.erased;
exception
  when data_exception then
    perform common.refuse('CF001', format('a value of an enrolment is invalid: %s', left(sqlerrm, 100)),
      'Times are ISO 8601, and removed is true or false.');
end;
$$;

comment on function track._rectify_enrolments(privacy.subject, jsonb) is $$
Corrects enrolments of a person: see `privacy.rectify`.
$$;

create or replace function track.rectify(subject privacy.subject, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  if changes ? 'traits' then
    return query select changed.* from track._rectify_traits(subject, changes -> 'traits') as changed;
  end if;
  if changes ? 'enrolments' then
    return query select changed.* from track._rectify_enrolments(subject, changes -> 'enrolments') as changed;
  end if;
end;
$$;

comment on function track.rectify(privacy.subject, jsonb) is $$
@behavior -*
Corrects the traits and enrolments of a person, and queues what is derived from them. Called by `privacy.rectify`.
$$;
