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
  -- They are of the time of the backup: nobody is erased while her data is restricted, so that they had ended.
  delete from privacy.restriction where restriction.person_id = any (v_people);
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
