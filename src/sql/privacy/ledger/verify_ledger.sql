create or replace function privacy.verify_ledger(
  expected_position bigint default null,
  expected_hash text default null,
  tolerance interval default '1 hour'
)
returns privacy.ledger_report
language plpgsql
stable
-- A definer: it reads the salts of all records.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
as $$
declare
  v_report privacy.ledger_report;
  v_head privacy.ledger_head := privacy.ledger_head();
  v_names_function constant text := (select setting.names_function from privacy.setting);
  v_sealed privacy.sealed_table;
  v_records bigint;
  v_unsealed bigint;
  v_problems privacy.ledger_problem[] := '{}';
  v_found privacy.ledger_problem[];
begin
  if (verify_ledger.expected_position is null) <> (verify_ledger.expected_hash is null) then
    perform common.refuse('CF001',
      format('expected_position is %s, expected_hash is %s', coalesce(verify_ledger.expected_position::text, 'null'),
        coalesce('"' || left(verify_ledger.expected_hash, 100) || '"', 'null')),
      'Give both, as privacy.ledger_head answered them, or none.');
  end if;
  if verify_ledger.tolerance is null or verify_ledger.tolerance < '0' then
    perform common.refuse('CF001', format('tolerance is %s', coalesce(verify_ledger.tolerance::text, 'null')),
      'Give an interval of zero or more.');
  end if;

  select count(*) into v_report.entries from privacy.ledger;
  v_report.head_position := v_head.position;
  v_report.head_hash := v_head.hash;

  -- Each entry is compared with the one before it: if all of them are right, the whole chain is.
  select min(linked.position) into v_report.broken_position
  from (
    select
      ledger.*,
      lag(ledger.hash) over (order by ledger.position) as previous_hash,
      lag(ledger.sealed_at) over (order by ledger.position) as previous_at,
      row_number() over (order by ledger.position) as number
    from privacy.ledger
  ) as linked
  where linked.position <> linked.number
    or linked.sealed_at < linked.previous_at
    or linked.hash is distinct from privacy._ledger_hash(
      linked.previous_hash, linked.commitment, linked.position, linked.sealed_at, linked.kind
    );
  if v_report.broken_position is not null then
    v_problems := v_problems || row(
      'broken', null, v_report.broken_position, null,
      'The entry does not follow from the one before it: an entry was changed, deleted or inserted.'
    )::privacy.ledger_problem;
  end if;
  if verify_ledger.expected_position is not null and not exists (
    select
    from privacy.ledger
    where ledger.position = verify_ledger.expected_position
      and encode(ledger.hash, 'hex') = lower(verify_ledger.expected_hash)
  ) then
    v_problems := v_problems || row(
      'rewritten', null, verify_ledger.expected_position, null,
      'The ledger has no entry with the expected position and hash: it was rewritten or cut.'
    )::privacy.ledger_problem;
  end if;
  v_found := array(
    select row('unknown_kind', ledger.kind, min(ledger.position), null,
      format('%s entries have a kind that is not registered.', count(*)))::privacy.ledger_problem
    from privacy.ledger
    where ledger.kind <> 'checkpoint'
      and not exists (select from privacy.sealed_table where sealed_table.kind = ledger.kind)
    group by ledger.kind
    order by ledger.kind
  );
  v_problems := v_problems || v_found;

  v_report.records := 0;
  v_report.unsealed := 0;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    execute format(
      $statement$
        select
          count(*) filter (where record.%2$I is not null),
          count(*) filter (where record.%2$I is null and (%3$s))
        from %1$s as record
      $statement$,
      v_sealed.table_name,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed)
    )
    into v_records, v_unsealed;
    v_report.records := v_report.records + v_records;
    v_report.unsealed := v_report.unsealed + v_unsealed;
    v_found := array(
      select entry
      from privacy._check_records(v_sealed.kind, verify_ledger.tolerance) as entry
      order by entry.position, entry.record_id
    );
    v_problems := v_problems || v_found;
  end loop;

  -- The person is not sealed, since a merge changes it, but the name is, under which she decided.
  if v_names_function is not null then
    execute format(
      $statement$
        with decision as materialized (
          select
            consent.consent_id, consent.ledger_position, consent.identity_id, consent.person_id, consent.subject_name
          from privacy.consent
          where consent.subject_name is not null
        )

        select array_agg(
          row(
            'moved', 'consent', decision.ledger_position, decision.consent_id,
            'The decision is stored for another person or identity than that of its name.'
          )::privacy.ledger_problem
          order by decision.ledger_position, decision.consent_id
        )
        from decision
        left join %I.%I(array(select distinct decision.identity_id from decision)) as named
          on named.identity_id = decision.identity_id
        where (decision.person_id, decision.subject_name) is distinct from (named.person_id, named.name)
      $statement$,
      split_part(v_names_function, '.', 1), split_part(v_names_function, '.', 2)
    )
    into v_found;
    v_problems := v_problems || coalesce(v_found, '{}');
  end if;

  v_report.removed := (
    select count(distinct removed.position)
    from privacy.removal
    cross join lateral unnest(removal.positions) as removed (position)
  );
  v_report.problem_count := cardinality(v_problems);
  v_report.problems := v_problems[1:100];
  v_report.is_intact := v_report.problem_count = 0;
  return v_report;
end;
$$;

comment on function privacy.verify_ledger(bigint, text, interval) is $$
@behavior -mutationField +queryField
Compares the ledger with itself and with the records, and returns the differences.
`broken`: an entry that does not follow from the one before it. `changed`: a record whose contents are not those that
were sealed. `missing`: an entry without its record that no removal accounts for. `restored`: a record that was deleted
by right and is there again. `copied`, `unknown_position`: a record that refers to the entry of another one, or to none.
`backdated`: a record that claims to have been stored more than `tolerance` before an entry, at whose time it was not
there. `moved`: a decision that is stored for a person other than that of its name. `unknown_kind`: entries that no
registered table has. `rewritten`: there is no entry with `expected_position` and `expected_hash`, which
`privacy.ledger_head` answered earlier. Without these two, a ledger that was recomputed as a whole, or cut at its
end together with the records, is not found.
The time is proportional to the ledger. Errors: CF001 when only one of the two is given, or for an invalid tolerance.
$$;

grant execute on function privacy.verify_ledger(bigint, text, interval) to insights_admin, insights_worker;
