create or replace function privacy.rectify_birthday(subject privacy.subject, changes jsonb)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
as $$
declare
  v_given constant jsonb := coalesce(changes -> 'birthday', changes #> '{traits,birthday}');
  v_rows bigint;
begin
  if v_given is null then
    return;
  end if;
  if v_given = 'null' then
    delete from privacy.person_age
    where person_age.person_id = subject.person_id;
    get diagnostics v_rows = row_count;
    perform privacy._call_listeners(array[subject.person_id]);
    return next row('privacy.person_age', v_rows, 'deleted')::privacy.erased;
    return;
  end if;
  if coalesce(v_given #>> '{}', '') !~ '^\d{4}-\d{2}-\d{2}$' then
    raise data_exception;
  end if;
  perform privacy.record_birth_date(subject.person_id, (v_given #>> '{}')::date);
  v_rows := (select count(*) from privacy.person_age where person_age.person_id = subject.person_id);
  return next row('privacy.person_age', v_rows, 'cleared')::privacy.erased;
exception
  when data_exception then
    perform common.refuse('CF001', format('the birthday is %s', left(v_given::text, 100)),
      'Give a date such as "2010-05-31", or null to delete it.');
end;
$$;

comment on function privacy.rectify_birthday(privacy.subject, jsonb) is $$
@behavior -*
Corrects the date of birth of a person, or deletes it. Called by `privacy.rectify`.
$$;
