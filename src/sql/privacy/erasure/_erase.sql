create or replace function privacy._erase(person text, person_id bigint, reason text, keep_suppressed boolean)
returns privacy.erasure_receipt
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_started_at constant timestamptz := clock_timestamp();
  v_setting privacy.setting;
  v_subject privacy.subject;
  v_names privacy.subject;
  v_handler privacy.handler;
  v_erased privacy.erased[] := '{}';
  v_room_erased privacy.erased[];
  v_receipt privacy.erasure_receipt;
begin
  select * into v_setting from privacy.setting;
  execute format(
    'select * from %I.%I($1, $2)',
    split_part(v_setting.lock_function, '.', 1), split_part(v_setting.lock_function, '.', 2)
  )
  into v_subject
  using _erase.person, _erase.person_id;
  -- A call that is repeated: the name of the user who was erased may be that of the browser of another person.
  if _erase.person is not null and exists (
      select
      from privacy.suppressed(array['user'], array[_erase.person]) as suppressed
      where suppressed.lifted_at is null
    )
    and not exists (
      select
      from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
      where named.kind = 'user' and named.name = _erase.person
    )
  then
    perform common.refuse('CF002', format('there is no person "%s"', left(_erase.person, 100)),
      'The person with this userId was erased. The browser that another person has given this name is not hers.');
  end if;
  perform privacy._refuse_restricted(v_subject);

  for v_handler in
    select handler.*
    from privacy.handler
    where handler.erase_function is not null
    order by handler.position
  loop
    execute format(
      'select array(select erased from %I.%I($1) as erased)',
      split_part(v_handler.erase_function, '.', 1), split_part(v_handler.erase_function, '.', 2)
    )
    into v_room_erased
    using v_subject;
    v_erased := v_erased || v_room_erased;
  end loop;

  if _erase.keep_suppressed then
    execute format(
      'select * from %I.%I($1)',
      split_part(v_setting.unshared_function, '.', 1), split_part(v_setting.unshared_function, '.', 2)
    )
    into v_names
    using v_subject;
    perform privacy.suppress((v_names).kinds, (v_names).names);
  end if;

  -- Two random UUIDs have 244 random bits.
  v_receipt.salt := encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
  v_receipt.subject_hash := privacy.subject_hash(v_subject.names, v_receipt.salt);
  select coalesce(jsonb_object_agg(per_table.table_name, per_table.counts), '{}') into v_receipt.counts
  from (
    select counted.table_name, jsonb_object_agg(counted.method, counted.row_count) as counts
    from (
      select erased.table_name, erased.method, sum(erased.row_count)::bigint as row_count
      from unnest(v_erased) as erased
      where erased.row_count > 0
      group by erased.table_name, erased.method
    ) as counted
    group by counted.table_name
  ) as per_table;

  insert into privacy.erasure (requested_at, subject_hash, reason, counts)
  values (v_started_at, decode(v_receipt.subject_hash, 'hex'), _erase.reason, v_receipt.counts)
  returning erasure.erasure_id, erasure.erased_at into v_receipt.erasure_id, v_receipt.erased_at;
  return v_receipt;
end;
$$;

comment on function privacy._erase(text, bigint, text, boolean) is $$
Erases the person of a name, or else the one with a key: see `privacy.erase_person`.
$$;
