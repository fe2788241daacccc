create or replace function privacy._is_distributed(table_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The relation exists only where the extension citus does.
  v_partition constant regclass := to_regclass('pg_catalog.pg_dist_partition');
  v_result boolean := false;
begin
  if v_partition is not null then
    execute format('select exists (select 1 from %s where logicalrelid = $1)', v_partition)
    into v_result
    using to_regclass(_is_distributed.table_name);
  end if;
  return v_result;
end;
$$;

comment on function privacy._is_distributed(text) is $$
Returns whether the rows of a table are on several nodes of a cluster of Citus.
$$;

create or replace function privacy.seal(most int default 10000)
returns int
language plpgsql
volatile
-- A definer: it writes the ledger and the positions in the records, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sealed privacy.sealed_table;
  v_last privacy.ledger;
  v_sealed_at timestamptz;
  v_keys uuid[];
  v_salts bytea[];
  v_commitments bytea[];
  v_hashes bytea[];
  v_count int;
  v_updated int;
  v_total int := 0;
begin
  perform common.check_count('most', seal.most, 1, 100000);
  -- One at a time. Nobody else writes the ledger, and readers do not wait.
  lock table privacy.ledger in share row exclusive mode;
  select ledger.* into v_last from privacy.ledger order by ledger.position desc limit 1;
  -- Never before the last entry, also when the clock was set back.
  v_sealed_at := greatest(clock_timestamp(), v_last.sealed_at);

  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    exit when v_total >= seal.most;
    -- A row that another transaction moves or deletes is left to the next call. The order is that of the commitments,
    -- so that a position reveals nothing about a record.
    execute format(
      $statement$
        with taken as materialized (
          select record, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) as salt
          from %1$s as record
          where record.%3$I is null and (%4$s)
          limit $1
          %6$s
        ),

        committed as (
          select (taken.record).%2$I as key, taken.salt, %5$s as commitment
          from taken
        )

        select
          array_agg(key order by commitment), array_agg(salt order by commitment),
          array_agg(commitment order by commitment)
        from committed
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed),
      privacy._commitment_expression(v_sealed.kind, '(taken.record)', 'taken.salt'),
      -- Rows of several nodes cannot be locked: then it fails below, and the next call takes them.
      case when not privacy._is_distributed(v_sealed.table_name) then 'for update skip locked' end
    )
    into v_keys, v_salts, v_commitments
    using seal.most - v_total;
    continue when v_keys is null;

    v_count := cardinality(v_keys);
    v_hashes := '{}';
    for v_index in 1 .. v_count loop
      v_last.position := coalesce(v_last.position, 0) + 1;
      v_last.hash := privacy._ledger_hash(
        v_last.hash, v_commitments[v_index], v_last.position, v_sealed_at, v_sealed.kind
      );
      v_hashes[v_index] := v_last.hash;
    end loop;
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select v_last.position - v_count + entry.number, v_sealed.kind, entry.commitment, entry.hash, v_sealed_at
    from unnest(v_commitments, v_hashes) with ordinality as entry (commitment, hash, number);
    execute format(
      $statement$
        update %1$s as record
        set %3$I = entry.position, %4$I = entry.salt
        from unnest($1, $2, $3) as entry (key, salt, position)
        where record.%2$I = entry.key and record.%3$I is null
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      v_sealed.salt_column
    )
    using
      v_keys,
      v_salts,
      array(select generate_series(v_last.position - v_count + 1, v_last.position));
    get diagnostics v_updated = row_count;
    if v_updated < v_count then
      raise exception 'records of % were deleted while they were sealed', v_sealed.table_name
        using errcode = 'serialization_failure', hint = 'Call privacy.seal again.';
    end if;
    v_last.sealed_at := v_sealed_at;
    v_total := v_total + v_count;
  end loop;

  -- A record that is inserted later with an earlier time is found by the time of the last entry before it.
  if v_total = 0 and v_sealed_at >= coalesce(v_last.sealed_at, '-infinity') + interval '1 day' then
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select
      entry.position, 'checkpoint', sha256(''),
      privacy._ledger_hash(v_last.hash, sha256(''), entry.position, v_sealed_at, 'checkpoint'), v_sealed_at
    from (values (coalesce(v_last.position, 0) + 1)) as entry (position);
  end if;
  return v_total;
end;
$$;

comment on function privacy.seal(int) is $$
@behavior -*
Enters the records that are new since the last call into the ledger, at most `most`, and returns their number.
The worker calls it; records wait for it, but nobody waits for them: recording a decision does not lock the ledger.
When nothing is new for a day, it adds a checkpoint. Calls at the same time wait for each other. Errors: CF001 for an
invalid `most`.
$$;

grant execute on function privacy.seal(int) to insights_worker;
