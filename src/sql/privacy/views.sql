create or replace view privacy.current_consent
with (security_invoker = true)
as
select distinct on (person_id, purpose) person_id, purpose, granted, decided_at, source, document_version
from privacy.consent
order by person_id, purpose, decided_at desc, recorded_at desc;

comment on view privacy.current_consent is $$
@primaryKey person_id,purpose
The decision of each person about each purpose that is in force.
$$;
comment on column privacy.current_consent.person_id is $$Whose decision it is.$$;
comment on column privacy.current_consent.purpose is $$What was decided about.$$;
comment on column privacy.current_consent.granted is $$True: agreed. False: refused, withdrawn or objected.$$;
comment on column privacy.current_consent.decided_at is $$When the person decided.$$;
comment on column privacy.current_consent.source is $$How it came: `api`, `event`, `gpc` or `import`.$$;
comment on column privacy.current_consent.document_version is $$Version of the text that the person saw.$$;
