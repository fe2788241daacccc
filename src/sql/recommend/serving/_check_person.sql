create or replace function recommend._check_person(person text)
returns void
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if nullif(btrim(_check_person.person), '') is null then
    perform common.refuse(
      'CF001', 'the person is ' || coalesce('"' || left(_check_person.person, 100) || '"', 'null'),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
end;
$$;

comment on function recommend._check_person(text) is $$
@behavior -*
Raises CF001 for an empty name of a person.
$$;

grant execute on function recommend._check_person(text) to insights_reader, insights_learner;
