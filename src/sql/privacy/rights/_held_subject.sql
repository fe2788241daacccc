create or replace function privacy._held_subject(person text)
returns privacy.subject
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := (select setting.hold_function from privacy.setting);
  v_subject privacy.subject;
begin
  if _held_subject.person is null then
    perform common.refuse('CF001', 'person is null', 'Give the userId or anonymousId of the person.');
  end if;
  execute format('select * from %I.%I($1)', split_part(v_name, '.', 1), split_part(v_name, '.', 2))
  into v_subject
  using _held_subject.person;
  return v_subject;
end;
$$;

comment on function privacy._held_subject(text) is $$
Returns the person of a name, who is not merged, split or erased until the end of the transaction.
By the function that `privacy.setting.hold_function` names. Errors: CF001 for null, CF002 for an unknown name.
$$;
