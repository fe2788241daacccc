create or replace function privacy.erasure_list(since timestamptz default '-infinity')
returns jsonb
language plpgsql
stable
-- A definer: no role may read privacy.suppression.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
begin
  if erasure_list.since is null then
    perform common.refuse('CF001', 'since is null', 'Give the time of the oldest backup, or leave it out.');
  end if;
  return jsonb_build_object(
    'key', privacy._suppression_key(),
    'names', (
      select coalesce(
        jsonb_agg(
          jsonb_build_object(
            'hash', encode(suppression.name_hash, 'hex'), 'since', suppression.since, 'lifted_at', suppression.lifted_at
          )
          order by suppression.name_hash
        ),
        '[]'
      )
      from privacy.suppression
      where suppression.since >= erasure_list.since
        or suppression.lifted_at >= erasure_list.since
    )
  );
end;
$$;

comment on function privacy.erasure_list(timestamptz) is $$
@behavior -*
Returns the erasures since a time, to be repeated by `privacy.replay_erasures` after the restore of an older backup.
A JSON object: `key` (which database can read the list) and `names` (keyed hashes with their times). It contains no
name, and nobody without the database can test one against it. Erasures that left the names free are not in it.
Errors: CF001 for null.
$$;

grant execute on function privacy.erasure_list(timestamptz) to insights_admin, insights_worker;

create or replace function privacy._suppression_key()
returns text
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  -- There is no name of this kind.
  return (
    select encode(hashed.name_hash, 'hex')
    from privacy._hashed_names(array['list'], array['key']) as hashed
  );
end;
$$;

comment on function privacy._suppression_key() is $$
Returns a hash of the key under which names are hashed: equal for a database and its backups.
$$;

create or replace function privacy.replay_erasures(list jsonb)
returns bigint
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_name constant text := (select setting.returned_function from privacy.setting);
  v_people bigint[];
  v_person bigint;
  v_erased bigint := 0;
begin
  if replay_erasures.list is null
    or jsonb_typeof(replay_erasures.list) <> 'object'
    or coalesce(jsonb_typeof(replay_erasures.list -> 'names'), 'null') <> 'array'
    or replay_erasures.list ->> 'key' is null
  then
    perform common.refuse('CF009', 'the list is not one of privacy.erasure_list',
      'Give the JSON document that privacy.erasure_list returned.');
  end if;
  if replay_erasures.list ->> 'key' <> privacy._suppression_key() then
    perform common.refuse('CF005', 'the list is of another database',
      'Names are hashed with a key of the database, which its backups contain: restore one of its own backups.');
  end if;

  begin
    insert into privacy.suppression as stored (name_hash, since, lifted_at)
    select decode(entry.hash, 'hex'), max(entry.since), max(entry.lifted_at)
    from jsonb_to_recordset(replay_erasures.list -> 'names')
      as entry (hash text, since timestamptz, lifted_at timestamptz)
    group by entry.hash
    order by entry.hash
    on conflict (name_hash) do update
    set since = greatest(stored.since, excluded.since), lifted_at = excluded.lifted_at
    where excluded.since >= stored.since;
  exception
    when data_exception or not_null_violation or check_violation then
      perform common.refuse('CF009', format('a name of the list is invalid: %s', left(sqlerrm, 100)),
        'Give the JSON document that privacy.erasure_list returned.');
  end;

  execute format(
    'select array(select %I.%I())', split_part(v_name, '.', 1), split_part(v_name, '.', 2)
  )
  into v_people;
  foreach v_person in array v_people loop
    -- The names are suppressed already, or were freed by a later consent.
    perform privacy._erase(null, v_person, 'repeated after the restore of a backup', false);
    v_erased := v_erased + 1;
  end loop;
  return v_erased;
end;
$$;

comment on function privacy.replay_erasures(jsonb) is $$
@behavior -*
Repeats the erasures of a list of `privacy.erasure_list` after a backup from before them was restored.
Suppresses the names again, and erases the people who have one of them since before their erasure. Returns their number;
each has a receipt. A repeated call does nothing. Run it before the API and the workers are started.
Errors: CF009 for what is not such a list, CF005 for one of another database.
$$;

grant execute on function privacy.replay_erasures(jsonb) to insights_admin;
