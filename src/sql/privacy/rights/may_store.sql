create or replace function privacy.may_store(person_id bigint, purpose text)
returns boolean
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select coalesce(
      (
        select decision.granted
        from privacy.latest_decisions(may_store.purpose, array[may_store.person_id]) as decision
      ),
      known.basis <> 'consent'
    )
    from privacy.purpose as known
    where known.purpose = may_store.purpose
  );
end;
$$;

comment on function privacy.may_store(bigint, text) is $$
@behavior -*
Returns whether the data of a person may be stored for a purpose: as `privacy.allowed`, also while it is restricted.
$$;
