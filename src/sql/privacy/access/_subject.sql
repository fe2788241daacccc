create or replace function privacy._subject(person text)
returns privacy.subject
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_function text;
  v_subject privacy.subject;
begin
  select setting.subject_function into v_function from privacy.setting;
  execute format('select * from %I.%I($1)', split_part(v_function, '.', 1), split_part(v_function, '.', 2))
  into v_subject
  using _subject.person;
  return v_subject;
end;
$$;

comment on function privacy._subject(text) is $$
Returns a person with all her identities, by the function in `privacy.setting.subject_function`. Error: CF002.
$$;
