create or replace function privacy._signed_in_subject()
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_subject privacy.subject;
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: the data is that of a person.');
  end if;
  v_subject := privacy._subject(v_name);
  -- The name of a browser is not the proof that the token of a user is.
  if not exists (
    select
    from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
    where named.kind = 'user' and named.name = v_name
  ) then
    perform common.refuse('CF002', format('there is no person "%s"', left(v_name, 100)),
      'No data of the signed-in person is stored.');
  end if;
  return v_subject;
end;
$$;

comment on function privacy._signed_in_subject() is $$
Returns the signed-in person with all her identities.
Errors: CF005 when no person is signed in, CF002 when no data of the person is stored.
$$;
