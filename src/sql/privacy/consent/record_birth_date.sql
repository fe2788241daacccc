create or replace function privacy.record_birth_date(person_id bigint, birth_date date)
returns void
language plpgsql
volatile
-- A definer: it writes privacy.person_age, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
as $$
begin
  if record_birth_date.person_id is null or record_birth_date.person_id <= 0 then
    perform common.refuse('CF001', format('person_id is %s', coalesce(record_birth_date.person_id::text, 'null')),
      'Give the key of a person.');
  end if;
  if record_birth_date.birth_date is null
    or record_birth_date.birth_date not between '1800-01-01' and (now() at time zone 'UTC')::date + 1
  then
    perform common.refuse('CF001', format('birth_date is %s', coalesce(record_birth_date.birth_date::text, 'null')),
      'Give a date from 1800-01-01 to today.');
  end if;

  insert into privacy.person_age (person_id, identity_id, birth_date, is_verified)
  select record_birth_date.person_id, identity.identity_id, record_birth_date.birth_date, true
  from (
    select record_birth_date.person_id

    union

    select person_age.identity_id
    from privacy.person_age
    where person_age.person_id = record_birth_date.person_id
  ) as identity (identity_id)
  on conflict on constraint person_age_pkey do update
  set birth_date = excluded.birth_date, is_verified = true, set_at = excluded.set_at;
  perform privacy._call_listeners(array[record_birth_date.person_id]);
end;
$$;

comment on function privacy.record_birth_date(bigint, date) is $$
Records the date of birth of a person, which the application has verified; it replaces every other one of her.
Grants that she gave below the age of consent (`privacy.setting.age_of_consent`, `privacy.purpose.minimum_age`) are then
void, and a guardian has to grant: `privacy.record_consent(…, decided_by => 'guardian')`. Without a date of birth, a
person is taken to be of age. Errors: CF001 for a missing person, or a date before 1800 or in the future.
$$;

grant execute on function privacy.record_birth_date(bigint, date) to insights_admin, insights_worker;
