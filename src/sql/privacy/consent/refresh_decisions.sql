create or replace function privacy.refresh_decisions()
returns int
language plpgsql
volatile
-- A definer: it writes privacy.setting, and the listeners write tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_since timestamptz;
  v_people bigint[];
begin
  select setting.decisions_at into v_since from privacy.setting for update;
  if v_since >= now() then
    return 0;
  end if;

  v_people := array(
    select consent.person_id
    from privacy.consent
    where consent.valid_until > v_since
      and consent.valid_until <= now()

    union

    select person_age.person_id
    from privacy._ages(null) as aged
    join privacy.person_age
      on person_age.birth_date between
        (v_since - make_interval(years => aged.age))::date - 3 and (now() - make_interval(years => aged.age))::date + 3
    where privacy._of_age_at(person_age.birth_date, aged.age) > v_since
      and privacy._of_age_at(person_age.birth_date, aged.age) <= now()
  );
  update privacy.setting set decisions_at = now();
  perform privacy._call_listeners(v_people);
  return cardinality(v_people);
end;
$$;

comment on function privacy.refresh_decisions() is $$
@behavior -*
Notifies the listeners of people whose decisions changed with time since the last call; returns their number.
Their grants expired, or they came of age. The worker calls it; `privacy.allowed` and `track.ingest` do not wait for it.
$$;

grant execute on function privacy.refresh_decisions() to insights_worker;
