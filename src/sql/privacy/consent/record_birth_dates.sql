create or replace function privacy.record_birth_dates(people bigint[], identities bigint[], birth_dates date[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_changed bigint[];
begin
  with stored as (
    insert into privacy.person_age (person_id, identity_id, birth_date)
    select stated.person_id, stated.identity_id, max(stated.birth_date)
    from unnest(record_birth_dates.people, record_birth_dates.identities, record_birth_dates.birth_dates)
      as stated (person_id, identity_id, birth_date)
    group by stated.person_id, stated.identity_id
    on conflict (person_id, identity_id) do update
    set birth_date = excluded.birth_date, set_at = excluded.set_at
    where not person_age.is_verified
      and person_age.birth_date < excluded.birth_date
    returning person_age.person_id
  )

  select coalesce(array_agg(distinct stored.person_id), '{}') into v_changed from stored;
  perform privacy._call_listeners(v_changed);
end;
$$;

comment on function privacy.record_birth_dates(bigint[], bigint[], date[]) is $$
@behavior -*
Stores dates of birth that messages of trusted senders state, one per position of the lists.
Of several dates for an identity, the latest is kept: a message can only make a person younger, in any order of arrival.
A verified date (`privacy.record_birth_date`) stays.
$$;
