create or replace function privacy._after_business_days(received_at timestamptz, days int)
returns timestamptz
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
declare
  v_weekday constant int := extract(isodow from _after_business_days.received_at);
  -- A request of a weekend counts as one of Friday: the time is never longer than the law allows.
  v_start constant int := least(v_weekday, 5);
begin
  return _after_business_days.received_at + make_interval(
    days => v_start - v_weekday + days + 2 * ((v_start - 1 + days) / 5)
  );
end;
$$;

comment on function privacy._after_business_days(timestamptz, int) is $$
Returns the time that is a number of days from Monday to Friday later, in UTC.
$$;

create or replace function privacy._open_request(person text, kind text, regime text, received_at timestamptz)
returns privacy.opened_request
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A month is one of the calendar in UTC.
set timezone to 'UTC'
set datestyle to 'ISO, MDY'
as $$
declare
  v_kinds constant text[] :=
    '{access,portability,erasure,rectification,restriction,objection,opt_out,limit_use}';
  v_subject privacy.subject;
  v_identity_id bigint;
  v_regime privacy.regime;
  v_request privacy.request;
  v_opened privacy.opened_request;
begin
  if _open_request.kind is null or _open_request.kind <> all (v_kinds) then
    perform common.refuse(
      'CF001', format('there is no kind of request "%s"', coalesce(left(_open_request.kind, 100), 'null')),
      format('The kinds are %s.', array_to_string(v_kinds, ', '))
    );
  end if;
  select * into v_regime
  from privacy.regime
  where regime.regime = _open_request.regime;
  if v_regime.regime is null then
    perform common.refuse(
      'CF002', format('there is no regime "%s"', coalesce(left(_open_request.regime, 100), 'null')),
      (
        select format('The regimes are %s.', string_agg(regime.regime, ', ' order by regime.regime))
        from privacy.regime
      )
    );
  end if;
  if _open_request.received_at is null
    or _open_request.received_at > clock_timestamp() + interval '1 hour'
    or _open_request.received_at < clock_timestamp() - interval '1 year'
  then
    perform common.refuse(
      'CF001', format('received_at is %s', coalesce(_open_request.received_at::text, 'null')),
      'Give the time at which the request was received: within the last year, and not in the future.'
    );
  end if;

  v_subject := privacy._held_subject(_open_request.person);
  v_identity_id := privacy._named_identity(v_subject, _open_request.person);

  v_opened.subject_salt := encode(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()), 'hex');
  v_opened.subject_hash := privacy.subject_hash(array[_open_request.person], v_opened.subject_salt);
  v_opened.received_at := least(_open_request.received_at, clock_timestamp());
  if not exists (
    select
    from privacy.request
    where request.person_id = v_subject.person_id
      and request.kind = _open_request.kind
      and request.completed_at is null
  ) then
    insert into privacy.request (kind, regime, person_id, identity_id, subject_hash, received_at, due_at)
    values (
      _open_request.kind, v_regime.regime, v_subject.person_id, v_identity_id, decode(v_opened.subject_hash, 'hex'),
      v_opened.received_at,
      case
        when v_regime.opt_out_days is not null and _open_request.kind in ('opt_out', 'limit_use')
          then privacy._after_business_days(v_opened.received_at, v_regime.opt_out_days)
        else v_opened.received_at + v_regime.answer_within
      end
    )
    on conflict do nothing
    returning * into v_request;
  end if;
  if v_request.request_id is null then
    select * into v_request
    from privacy.request
    where request.person_id = v_subject.person_id
      and request.kind = _open_request.kind
      and request.completed_at is null
    order by request.received_at
    limit 1;
    perform common.refuse(
      'CF003',
      format(
        'a request of the kind %s by "%s" is open, received at %s', v_request.kind, left(_open_request.person, 100),
        date_trunc('second', v_request.received_at)
      ),
      format(
        'It must be answered until %s. Administrators do so by privacy.complete_request(''%s'').',
        date_trunc('second', coalesce(v_request.extended_until, v_request.due_at)), v_request.request_id
      )
    );
  end if;

  v_opened.request_id := v_request.request_id;
  v_opened.kind := v_request.kind;
  v_opened.regime := v_request.regime;
  v_opened.due_at := v_request.due_at;
  return v_opened;
end;
$$;

comment on function privacy._open_request(text, text, text, timestamptz) is $$
Stores a request: see `privacy.open_request`.
$$;

create or replace function privacy.open_request(
  person text,
  kind text,
  regime text default 'gdpr',
  received_at timestamptz default clock_timestamp()
)
returns privacy.opened_request
language plpgsql
volatile
-- A definer: it writes privacy.request, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return privacy._open_request(
    open_request.person, open_request.kind, open_request.regime, open_request.received_at
  );
end;
$$;

comment on function privacy.open_request(text, text, text, timestamptz) is $$
Records the request of a person about her data, and the time until which the law requires an answer.
`kind`: `access`, `portability`, `erasure`, `rectification`, `restriction`, `objection`, `opt_out` or `limit_use`.
`regime`: a row of `privacy.regime` (`gdpr`: one month; `ccpa`, `ferpa`: 45 days; an opt-out or a limit of the use of
sensitive data by `ccpa`: 15 business days). `received_at`: of a letter, the day on which it arrived.
A person has one open request of a kind, also after a merge of people.
Errors: CF001 for an unknown kind or a time that is older than a year or in the future, CF002 for an unknown person or
regime, CF003 when such a request is open.
$$;

grant execute on function privacy.open_request(text, text, text, timestamptz) to insights_admin;
