create or replace function privacy._check_records(kind text, tolerance interval)
returns setof privacy.ledger_problem
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sealed privacy.sealed_table;
begin
  select sealed_table.* into v_sealed from privacy.sealed_table where sealed_table.kind = _check_records.kind;
  return query execute format(
    $statement$
      with record as materialized (
        select
          record.%2$I as record_id, record.%3$I as position, record.%4$I as recorded_at,
          %5$s as commitment,
          count(*) over (partition by record.%3$I) as uses
        from %1$s as record
        where record.%3$I is not null
      ),

      removed as materialized (
        select unnest(removal.positions) as position
        from privacy.removal
      ),

      entry as materialized (
        select
          ledger.position, ledger.kind, ledger.commitment, ledger.sealed_at,
          max(ledger.sealed_at) over (
            order by ledger.sealed_at range between unbounded preceding and '1 microsecond' preceding
          ) as previous_at
        from privacy.ledger
      )

      select
        case
          when entry.position is null or entry.kind <> $1 then 'unknown_position'
          when record.record_id is null then 'missing'
          when record.uses > 1 then 'copied'
          when record.commitment is distinct from entry.commitment then 'changed'
          when entry.position in (select removed.position from removed) then 'restored'
          else 'backdated'
        end,
        $1,
        coalesce(record.position, entry.position),
        record.record_id,
        case
          when entry.position is null or entry.kind <> $1
            then 'The record refers to an entry that does not exist or seals another kind of record.'
          when record.record_id is null then 'The record of the entry was deleted, and no removal accounts for it.'
          when record.uses > 1 then 'Several records refer to the entry.'
          when record.commitment is distinct from entry.commitment
            then 'The contents of the record are not those that were sealed.'
          when entry.position in (select removed.position from removed)
            then 'The record was deleted by right, and is there again.'
          else format(
            'The record states that it was stored at %%s, but it was not there at %%s.',
            record.recorded_at, entry.previous_at
          )
        end
      from record
      full join (select entry.* from entry where entry.kind = $1) as entry using (position)
      where case
        when entry.position is null then true
        when record.record_id is null
          then entry.position not in (select removed.position from removed)
        else record.uses > 1
          or record.commitment is distinct from entry.commitment
          or record.recorded_at < entry.previous_at - $2
          or entry.position in (select removed.position from removed)
      end
    $statement$,
    v_sealed.table_name,
    v_sealed.key_column,
    v_sealed.position_column,
    v_sealed.recorded_column,
    privacy._commitment_expression(v_sealed.kind, 'record', format('record.%I', v_sealed.salt_column))
  )
  using v_sealed.kind, _check_records.tolerance;
end;
$$;

comment on function privacy._check_records(text, interval) is $$
Returns the records of a kind that differ from their entries in the ledger, and the entries without a record.
$$;
