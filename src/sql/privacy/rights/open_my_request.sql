create or replace function privacy.open_my_request(kind text, regime text default 'gdpr')
returns privacy.opened_request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write, for the signed-in person only.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_name constant text := nullif(current_setting('insights.person', true), '');
  v_subject privacy.subject;
begin
  if v_name is null then
    perform common.refuse('CF005', 'no person is signed in', 'Sign in first: a request belongs to a person.');
  end if;
  begin
    v_subject := privacy._subject(v_name);
  exception
    -- Reported below, after the other arguments.
    when sqlstate 'CF002' then null;
  end;
  -- The name of a browser, which its client has chosen, is not the proof that the token of a user is.
  if v_subject.person_id is not null and not exists (
    select
    from unnest(v_subject.kinds, v_subject.names) as named (kind, name)
    where named.kind = 'user' and named.name = v_name
  ) then
    perform common.refuse('CF002', format('there is no person "%s"', left(v_name, 100)),
      'No data of the signed-in person is stored.');
  end if;
  return privacy._open_request(v_name, open_my_request.kind, open_my_request.regime, clock_timestamp());
end;
$$;

comment on function privacy.open_my_request(text, text) is $$
Records a request of the signed-in person about her data: see `privacy.open_request`.
Errors: CF001 for an unknown kind, CF002 for an unknown regime or a person of whom nothing is stored, CF003 when such a
request is open, CF005 when no person is signed in.
$$;

grant execute on function privacy.open_my_request(text, text) to insights_learner;
