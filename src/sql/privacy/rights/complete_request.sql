create or replace function privacy.complete_request(
  request_id uuid,
  outcome text default null,
  state text default 'completed'
)
returns privacy.request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_request privacy.request;
begin
  if complete_request.state is null or complete_request.state not in ('completed', 'refused', 'withdrawn') then
    perform common.refuse(
      'CF001', format('a request cannot end as "%s"', coalesce(left(complete_request.state, 100), 'null')),
      'The states are completed, refused and withdrawn.'
    );
  end if;
  if complete_request.state = 'refused' and nullif(btrim(complete_request.outcome), '') is null then
    perform common.refuse('CF001', 'a request would be refused without a reason',
      'Give the reason as outcome, and inform the person (GDPR article 12(4)).');
  end if;
  if length(complete_request.outcome) > 2000 then
    perform common.refuse('CF008', format('the outcome has %s characters', length(complete_request.outcome)),
      'It can have at most 2000. Do not name the person in it.');
  end if;

  select * into v_request
  from privacy.request
  where request.request_id = complete_request.request_id
  for update;
  if v_request.request_id is null then
    perform common.refuse(
      'CF002', format('there is no request %s', coalesce(complete_request.request_id::text, 'null')),
      'The open requests are in privacy.open_requests.'
    );
  end if;
  if v_request.state <> 'open' then
    perform common.refuse(
      'CF003',
      format(
        'the request %s was %s at %s', v_request.request_id, v_request.state,
        date_trunc('second', v_request.completed_at)
      ),
      'An answer is final. Open a new request.'
    );
  end if;

  update privacy.request
  set
    state = complete_request.state, outcome = complete_request.outcome, person_id = null, identity_id = null,
    -- The clock may have been set back since.
    completed_at = greatest(clock_timestamp(), v_request.received_at)
  where request.request_id = v_request.request_id
  returning * into v_request;
  return v_request;
end;
$$;

comment on function privacy.complete_request(uuid, text, text) is $$
Records the answer to a request. The record no longer refers to the person; her salt proves that it was hers.
`outcome`: what was done, or why it was refused, without a name. `state`: `completed`, `refused` (needs an outcome) or
`withdrawn` by the person. Errors: CF001 for an invalid state or a refusal without a reason, CF002 for an unknown
request, CF003 when it was answered before, CF008 for an outcome of more than 2,000 characters.
$$;

grant execute on function privacy.complete_request(uuid, text, text) to insights_admin, insights_worker;
