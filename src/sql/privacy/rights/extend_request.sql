create or replace function privacy.extend_request(request_id uuid)
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
  v_extension interval;
begin
  select * into v_request
  from privacy.request
  where request.request_id = extend_request.request_id
  for update;
  if v_request.request_id is null then
    perform common.refuse(
      'CF002', format('there is no request %s', coalesce(extend_request.request_id::text, 'null')),
      'The open requests are in privacy.open_requests.'
    );
  end if;
  v_extension := (
    select regime.extension
    from privacy.regime
    where regime.regime = v_request.regime
      and (regime.opt_out_days is null or v_request.kind not in ('opt_out', 'limit_use'))
  );
  if v_extension is null then
    perform common.refuse(
      'CF005',
      format('the law of the request, %s, allows no extension of the kind %s', v_request.regime, v_request.kind),
      format('Answer it until %s.', date_trunc('second', v_request.due_at))
    );
  end if;
  if v_request.state <> 'open' or v_request.extended_until is not null then
    perform common.refuse(
      'CF003',
      format(
        'the request %s was %s', v_request.request_id,
        case v_request.state
          when 'open' then format('extended until %s', date_trunc('second', v_request.extended_until))
          else format('%s at %s', v_request.state, date_trunc('second', v_request.completed_at))
        end
      ),
      'A request is extended once, while it is open.'
    );
  end if;
  -- The person must be informed before the first limit ends.
  if clock_timestamp() > v_request.due_at then
    perform common.refuse(
      'CF005', format('the request was due at %s', date_trunc('second', v_request.due_at)),
      'An extension is only possible before. Answer the request now.'
    );
  end if;

  update privacy.request
  set extended_until = v_request.due_at + v_extension
  where request.request_id = v_request.request_id
  returning * into v_request;
  return v_request;
end;
$$;

comment on function privacy.extend_request(uuid) is $$
Extends the time to answer a request once, by the `extension` of its law. Tell the person why.
A law with a time of its own for opt-outs (`privacy.regime.opt_out_days`) allows no extension of it.
Errors: CF002 for an unknown request, CF003 when it was answered or extended before, CF005 when the law allows no
extension or the time to answer is over.
$$;

grant execute on function privacy.extend_request(uuid) to insights_admin;
