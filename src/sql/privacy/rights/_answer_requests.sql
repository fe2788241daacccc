create or replace function privacy._answer_requests(person_id bigint, kinds text[], outcome text)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update privacy.request
  set
    state = 'completed', outcome = _answer_requests.outcome, person_id = null, identity_id = null,
    completed_at = greatest(clock_timestamp(), request.received_at)
  where request.person_id = _answer_requests.person_id
    and request.kind = any (_answer_requests.kinds)
    and request.completed_at is null;
end;
$$;

comment on function privacy._answer_requests(bigint, text[], text) is $$
Completes the open requests of a person of the given kinds.
$$;
