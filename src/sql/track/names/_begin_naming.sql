create or replace function track._begin_naming()
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    perform common.refuse(
      '25001',
      format('names cannot be changed in a transaction of the level %s', current_setting('transaction_isolation')),
      'Use read committed: the call must see the events that others have stored until it has its locks.'
    );
  end if;
  -- Before the locks of tables: a step of track._apply_names holds it while it waits for these.
  perform pg_advisory_xact_lock(hashtext('track.name'));
  -- Waits for messages that create a month: they lock track.event before the other tables.
  perform pg_advisory_xact_lock(hashtext('track.make_partitions'));
  -- In the order of track.ingest. These locks wait for the transactions that have stored events, and later ones wait
  -- here and then read the new names. So all events that must be moved are stored by now.
  lock table track.event_type in share row exclusive mode;
  lock table track.item in share row exclusive mode;
  lock table track.event in share mode;
  -- Fails transactions whose snapshot is older: see track._refuse_old_names.
  update track.setting set only_row = true;
end;
$$;

comment on function track._begin_naming() is $$
Begins a change of names: locks the tables against messages.
$$;
