create or replace function privacy.erase_requested()
returns privacy.erased_requests
language plpgsql
volatile
-- A definer: it deletes rows of all rooms, which no role may do.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_request privacy.request;
  v_result privacy.erased_requests := row(0, 0, null);
begin
  -- Not the rows of the requests: a merge of people has locked the people before it moves their requests.
  if not pg_try_advisory_xact_lock(hashtext('privacy.erase_requested')) then
    return v_result;
  end if;
  -- One erasure in a transaction; those that fail are skipped, and tried again by the next run.
  for v_request in
    select request.*
    from privacy.request
    where request.kind = 'erasure'
      and request.completed_at is null
      and request.person_id not in (select restricted.person_id from privacy.restricted() as restricted (person_id))
    order by request.received_at, request.request_id
  loop
    begin
      perform privacy._erase(null, v_request.person_id, format('request %s', v_request.request_id), true);
      v_result.erased := 1;
      return v_result;
    exception
      when deadlock_detected or lock_not_available or serialization_failure then raise;
      when others then
        -- Answered, or the person was merged into another one, since the query began.
        continue when not exists (
          select
          from privacy.request
          where request.request_id = v_request.request_id
            and request.completed_at is null
            and request.person_id = v_request.person_id
        );
        v_result.failed := v_result.failed + 1;
        v_result.error := left(sqlerrm, 100);
        raise warning 'the erasure of request % failed: %', v_request.request_id, left(sqlerrm, 100);
    end;
  end loop;
  return v_result;
end;
$$;

comment on function privacy.erase_requested() is $$
@behavior -*
Erases the person of the oldest open request for it (`privacy.request`), and answers the request.
Requests of people whose data is restricted wait. Those that fail stay open and are reported; the next one is erased.
Call it until `erased` is 0, each call in its own transaction. Returns 0 while another session erases requests.
$$;

grant execute on function privacy.erase_requested() to insights_worker;
