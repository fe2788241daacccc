create or replace view privacy.current_consent
with (security_invoker = true)
as
select distinct on (person_id, purpose)
  person_id, purpose, granted, decided_at, source, document_version, basis, valid_until, decided_by
from privacy.consent
order by person_id, purpose, decided_at desc, recorded_at desc;

comment on view privacy.current_consent is $$
@primaryKey person_id,purpose
Latest decision of each person about each purpose.
Whether it applies, `privacy.allowed` answers: a grant may have expired, or may be that of a minor.
$$;
comment on column privacy.current_consent.person_id is $$Person that the decision applies to.$$;
comment on column privacy.current_consent.purpose is $$Purpose that the decision is about.$$;
comment on column privacy.current_consent.granted is $$True: granted. False: refused, withdrawn or opted out.$$;
comment on column privacy.current_consent.decided_at is $$Time of the decision.$$;
comment on column privacy.current_consent.source is $$
Origin of the decision: `api`, `event`, `gpc`, `dnt` or `import`.
$$;
comment on column privacy.current_consent.document_version is $$
Version of the text that was shown to the person; null when unknown.
$$;
comment on column privacy.current_consent.basis is $$
Lawful basis of the purpose at the time of the decision; null when unknown.
$$;
comment on column privacy.current_consent.valid_until is $$Time at which a grant expires; null when it does not.$$;
comment on column privacy.current_consent.decided_by is $$
`person`, or `guardian`: the holder of parental responsibility decided.
$$;

create or replace view privacy.open_requests
with (security_invoker = true)
as
select
  request_id, kind, regime, received_at, coalesce(extended_until, due_at) as due_at,
  coalesce(extended_until, due_at) < clock_timestamp() as is_overdue, person_id
from privacy.request
where completed_at is null;

comment on view privacy.open_requests is $$
@name privacy_pending_requests
@primaryKey request_id
Requests of people that are not answered yet, with the time until which they must be.
$$;
comment on column privacy.open_requests.request_id is $$Key of the request.$$;
comment on column privacy.open_requests.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection`, `opt_out` or `limit_use`.
$$;
comment on column privacy.open_requests.regime is $$Law under which the request was made.$$;
comment on column privacy.open_requests.received_at is $$Time at which the request was received.$$;
comment on column privacy.open_requests.due_at is $$Time until which it must be answered, with an extension.$$;
comment on column privacy.open_requests.is_overdue is $$Whether this time is over.$$;
comment on column privacy.open_requests.person_id is $$Person that the request is about.$$;
