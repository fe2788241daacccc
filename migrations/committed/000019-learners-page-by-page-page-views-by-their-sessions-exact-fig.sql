--! Previous: sha1:004a12a33acb67e91cdc37fdc2bdaf514825d0f8
--! Hash: sha1:ef0286e91b0f552a0c20b792de9b29f43aec6ebe
--! Message: learners page by page, page views by their sessions, exact figures by one function

--! Included prepare.sql
/*
 * The start of every migration. The types and operators of pgvector are resolved when objects are created, in the
 * schema of the extension. Only the owner may call a function until its file grants it.
 */
do $$
declare
  v_schema text := (
    select namespace.nspname
    from pg_catalog.pg_extension as extension
    join pg_catalog.pg_namespace as namespace on namespace.oid = extension.extnamespace
    where extension.extname = 'vector'
  );
begin
  if v_schema is null then
    raise exception using
      errcode = 'CF002',
      message = format('the extension "vector" is not installed in database "%s"', current_database()),
      hint = 'Run "insights migrate", which installs it, or "create extension vector" as an administrator.';
  end if;
  perform pg_catalog.set_config('search_path', pg_catalog.format('%I, pg_temp', v_schema), true);
  -- Hides the notices of "drop … if exists" for objects that do not exist.
  perform pg_catalog.set_config('client_min_messages', 'warning', true);
end;
$$;

alter default privileges revoke execute on functions from public;
--! EndIncluded prepare.sql

-- Changes of structure since the last release: see migrations/README.md.

drop function if exists track.stored_activity(bigint[], date[], date[]);
drop function if exists track.event_activity(bigint[], date[], date[], int);
drop function if exists track.activity_of(bigint[], date, date);

-- Exact figures are returned by the functions that compute them, which admins and workers may call.
drop function if exists analytics._active_people_exact(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
);
drop function if exists analytics._activity_by_minute_exact(int);
drop function if exists analytics._cohorts_exact();
drop function if exists analytics._course_outlook_exact(text, timestamptz);
drop function if exists analytics._engagement_levels_exact(text, text, text, text, int);
drop function if exists analytics._feature_usage_exact(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
);
drop function if exists analytics._funnel_correlation_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
);
drop function if exists analytics._funnel_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
);
drop function if exists analytics._funnel_times_exact(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
);
drop function if exists analytics._funnel_trend_exact(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
);
drop function if exists analytics._hour_of_week_exact(text, timestamptz, timestamptz, text, text, text, text, int);
drop function if exists analytics._lifecycle_exact(text, text, timestamptz, timestamptz, text, text, text, text, int);
drop function if exists analytics._paths_exact(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
);
drop function if exists analytics._popular_courses_exact(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
);
drop function if exists analytics._popular_items_exact(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
);
drop function if exists analytics._retention_exact(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int
);
drop function if exists analytics._segments_exact(int);
drop function if exists analytics._sequences_exact(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
);
drop function if exists analytics._session_distribution_exact(text, timestamptz, timestamptz, text, text, int);
drop function if exists analytics._session_items_exact(text, timestamptz, timestamptz, text, int, text, int);
drop function if exists analytics._session_trend_exact(text, timestamptz, timestamptz, text, text, text, int);
drop function if exists analytics._stickiness_exact(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
);
drop function if exists analytics._task_deadlines_exact(text, text, text, int);
drop function if exists analytics._transitions_exact(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
);
drop function if exists analytics._trending_items_exact(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
);
drop function if exists monitor._calibration_exact(timestamptz, timestamptz, text);
drop function if exists monitor._position_bias_exact(timestamptz, timestamptz, text);
drop function if exists monitor._relevance_exact(timestamptz, timestamptz, text, text, boolean);
drop function if exists monitor._score_drift_exact(timestamptz, timestamptz, text, interval);
drop function if exists recommend._serving_report_exact(timestamptz, timestamptz, text, text);

-- Page views with the times of their sessions. The second view is used while page views of an earlier version are left.
create or replace view track.page_view_of_sessions
with (security_invoker = true)
as
select
  session.person_id,
  viewed.event_id,
  session.session_id,
  viewed.view_number::int as view_number,
  viewed.item_id,
  session.started_at + viewed.start * interval '1 microsecond' as started_at,
  coalesce(
    session.started_at + coalesce(viewed.ended, viewed.next_start) * interval '1 microsecond',
    session.ended_at
  ) as ended_at,
  coalesce(
    viewed.engaged * interval '1 microsecond',
    (coalesce(viewed.ended, viewed.next_start) - viewed.start) * interval '1 microsecond',
    session.ended_at - (session.started_at + viewed.start * interval '1 microsecond')
  ) as engaged,
  case
    when viewed.heartbeats is null then 'gaps'
    when viewed.heartbeats < 0 then 'nothing'
    else 'heartbeats'
  end as engaged_by,
  greatest(viewed.heartbeats, 0) as heartbeat_count,
  coalesce(viewed.is_continued, false) as is_continued,
  viewed.view_key,
  session.started_at as session_started_at,
  session.ended_at as session_ended_at
from track.session
cross join lateral unnest(
  session.view_event_ids, session.view_item_ids, session.view_starts, session.view_starts[2:], session.view_ends,
  session.view_engaged, session.view_heartbeats, session.view_continued, session.view_keys
) with ordinality as viewed (
  event_id, item_id, start, next_start, ended, engaged, heartbeats, is_continued, view_key, view_number
);

comment on view track.page_view_of_sessions is '@behavior -*';
grant select on track.page_view_of_sessions to insights_reader, insights_learner, insights_admin;

do $$
begin
  execute 'create or replace view track.page_view with (security_invoker = true) as '
    || case
      when to_regclass('track.stored_page_view') is null then pg_get_viewdef('track.page_view_of_sessions'::regclass)
      else '
        select
          person_id, event_id, session_id, view_number, item_id, started_at, ended_at, engaged, engaged_by,
          heartbeat_count, is_continued, view_key, session_started_at, session_ended_at
        from track.page_view_of_sessions
        union all
        select
          stored.person_id, stored.event_id, stored.session_id, stored.view_number, stored.item_id, stored.started_at,
          stored.ended_at, stored.engaged, stored.engaged_by, stored.heartbeat_count, stored.is_continued,
          stored.view_key, session.started_at, session.ended_at
        from track.stored_page_view as stored
        join track.session using (person_id, session_id)'
    end;
  if to_regclass('track.stored_page_view') is null then
    drop view track.page_view_of_sessions;
  end if;
end;
$$;

comment on column track.page_view.session_started_at is $$
@behavior -*
Time of the first event of the session. A condition on it, as on `session_ended_at`, limits the sessions that are read.
$$;
comment on column track.page_view.session_ended_at is $$
@behavior -*
Time of the last event of the session.
$$;

-- Pages of the learners of a course.
drop function if exists analytics._course_learners(bigint, timestamptz, timestamptz);
drop function if exists analytics.course_learners(text, timestamptz, timestamptz);

-- The latest disclosures.
create index if not exists disclosure_read on privacy.disclosure (read_at);

--! Included privacy/consent/effective_decisions.sql
create or replace function privacy.effective_decisions(
  purposes text[],
  people bigint[] default null,
  born_people bigint[] default null,
  birth_dates date[] default null
)
returns table (
  person_id bigint,
  purpose text,
  granted boolean,
  decided_at timestamptz,
  signalled_at timestamptz
)
language plpgsql
stable
parallel safe
rows 100
set search_path to pg_catalog, pg_temp
as $$
declare
  -- A list, so that the plan for a few people does not read the decisions of all people.
  v_people constant bigint[] := coalesce(
    effective_decisions.people,
    array(
      select consent.person_id
      from privacy.consent
      where consent.purpose = any (effective_decisions.purposes)

      union

      select person_age.person_id
      from privacy.person_age
    )
  );
  v_aged_purposes text[];
  v_ages smallint[];
  v_are_own boolean[];
begin
  if effective_decisions.born_people is null
    and not exists (select 1 from privacy.person_age where person_age.person_id = any (v_people))
  then
    return query
    select decision.*
    from (
      select distinct on (consent.person_id, consent.purpose)
        consent.person_id, consent.purpose,
        -- An expired grant counts as if there were none.
        case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
        consent.decided_at,
        max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
          over (partition by consent.person_id, consent.purpose) as signalled_at
      from privacy.consent
      where consent.person_id = any (v_people)
        and consent.purpose = any (effective_decisions.purposes)
      order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
    ) as decision
    where decision.granted is not null;
    return;
  end if;

  select array_agg(aged.purpose), array_agg(aged.age), array_agg(aged.is_own)
  into v_aged_purposes, v_ages, v_are_own
  from privacy._ages(effective_decisions.purposes) as aged;
  return query
  with born as materialized (
    select
      given.person_id,
      coalesce(max(given.birth_date) filter (where given.is_verified), max(given.birth_date)) as birth_date
    from (
      select person_age.person_id, person_age.birth_date, person_age.is_verified
      from privacy.person_age
      where person_age.person_id = any (v_people)

      union all

      select stated.person_id, stated.birth_date, false
      from unnest(effective_decisions.born_people, effective_decisions.birth_dates) as stated (person_id, birth_date)
      where stated.birth_date is not null
    ) as given
    group by given.person_id
  ),

  gate as materialized (
    select
      born.person_id, aged.purpose,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where not aged.is_own) as of_age_at,
      max(privacy._of_age_at(born.birth_date, aged.age)) filter (where aged.is_own) as opt_in_until
    from born
    cross join unnest(v_aged_purposes, v_ages, v_are_own) as aged (purpose, age, is_own)
    group by born.person_id, aged.purpose
  ),

  -- A grant that a person gave before she was of age stays void afterwards.
  latest as materialized (
    select distinct on (consent.person_id, consent.purpose)
      consent.person_id, consent.purpose,
      case when consent.granted and consent.valid_until <= now() then null else consent.granted end as granted,
      consent.decided_at,
      max(consent.decided_at) filter (where consent.source in ('gpc', 'dnt'))
        over (partition by consent.person_id, consent.purpose) as signalled_at
    from privacy.consent
    left join gate on gate.person_id = consent.person_id and gate.purpose = consent.purpose
    where consent.person_id = any (v_people)
      and consent.purpose = any (effective_decisions.purposes)
      and (
        not consent.granted
        or consent.decided_by = 'guardian'
        or gate.of_age_at is null
        or consent.decided_at >= gate.of_age_at
      )
    order by consent.person_id, consent.purpose, consent.decided_at desc, consent.recorded_at desc
  )

  select latest.person_id, latest.purpose, latest.granted, latest.decided_at, latest.signalled_at
  from latest
  left join gate on gate.person_id = latest.person_id and gate.purpose = latest.purpose
  where latest.granted
    or not latest.granted and coalesce(gate.of_age_at, '-infinity') <= now()

  union all

  -- A minor without the consent of a guardian: no later decision of her own changes it.
  select gate.person_id, gate.purpose, false, 'infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.of_age_at > now()
    and latest.granted is not true

  union all

  -- Any grant is later.
  select gate.person_id, gate.purpose, false, '-infinity'::timestamptz, latest.signalled_at
  from gate
  left join latest on latest.person_id = gate.person_id and latest.purpose = gate.purpose
  where gate.opt_in_until > now()
    and coalesce(gate.of_age_at, '-infinity') <= now()
    and latest.granted is null;
end;
$$;

comment on function privacy.effective_decisions(text[], bigint[], bigint[], date[]) is $$
@behavior -*
Returns the decision that applies now for each person and purpose; where there is none, the lawful basis applies.
It is the latest decision, except that
- an expired grant (`valid_until`) counts as if the person had not decided,
- a grant that a person gave before she was of age is void, unless a guardian gave it,
- for a minor without the consent of a guardian, the answer is false (`decided_at` is then `infinity`),
- below the `opt_in_age` of a purpose, it is false until a grant (`decided_at` is then `-infinity`).
The one place that decides: `privacy.allowed`, `privacy.latest_decisions` and `track.ingest` read it.
`people` null: all people. `born_people` and `birth_dates`: dates of birth that are not stored yet. `signalled_at`: time
of the latest opt-out signal of a browser.
$$;

grant execute on function privacy.effective_decisions(text[], bigint[], bigint[], date[])
to insights_reader, insights_learner, insights_admin, insights_worker;
--! EndIncluded privacy/consent/effective_decisions.sql

--! Included privacy/ledger/seal.sql
create or replace function privacy._is_distributed(table_name text)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The relation exists only where the extension citus does.
  v_partition constant regclass := to_regclass('pg_catalog.pg_dist_partition');
  v_result boolean := false;
begin
  if v_partition is not null then
    execute format('select exists (select 1 from %s where logicalrelid = $1)', v_partition)
    into v_result
    using to_regclass(_is_distributed.table_name);
  end if;
  return v_result;
end;
$$;

comment on function privacy._is_distributed(text) is $$
Returns whether the rows of a table are on several nodes of a cluster of Citus.
$$;

create or replace function privacy.seal(most int default 10000)
returns int
language plpgsql
volatile
-- A definer: it writes the ledger and the positions in the records, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
declare
  v_sealed privacy.sealed_table;
  v_last privacy.ledger;
  v_sealed_at timestamptz;
  v_keys uuid[];
  v_salts bytea[];
  v_commitments bytea[];
  v_hashes bytea[];
  v_count int;
  v_updated int;
  v_total int := 0;
begin
  perform common.check_count('most', seal.most, 1, 100000);
  -- One at a time. Nobody else writes the ledger, and readers do not wait.
  lock table privacy.ledger in share row exclusive mode;
  select ledger.* into v_last from privacy.ledger order by ledger.position desc limit 1;
  -- Never before the last entry, also when the clock was set back.
  v_sealed_at := greatest(clock_timestamp(), v_last.sealed_at);

  for v_sealed in
    select sealed_table.* from privacy.sealed_table order by sealed_table.kind
  loop
    exit when v_total >= seal.most;
    -- A row that another transaction moves or deletes is left to the next call. The order is that of the commitments,
    -- so that a position reveals nothing about a record.
    execute format(
      $statement$
        with taken as materialized (
          select record, uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) as salt
          from %1$s as record
          where record.%3$I is null and (%4$s)
          limit $1
          %6$s
        ),

        committed as (
          select (taken.record).%2$I as key, taken.salt, %5$s as commitment
          from taken
        )

        select
          array_agg(key order by commitment), array_agg(salt order by commitment),
          array_agg(commitment order by commitment)
        from committed
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      privacy._ready_condition(v_sealed),
      privacy._commitment_expression(v_sealed.kind, '(taken.record)', 'taken.salt'),
      -- Rows of several nodes cannot be locked: then it fails below, and the next call takes them.
      case when not privacy._is_distributed(v_sealed.table_name) then 'for update skip locked' end
    )
    into v_keys, v_salts, v_commitments
    using seal.most - v_total;
    continue when v_keys is null;

    v_count := cardinality(v_keys);
    v_hashes := '{}';
    for v_index in 1 .. v_count loop
      v_last.position := coalesce(v_last.position, 0) + 1;
      v_last.hash := privacy._ledger_hash(
        v_last.hash, v_commitments[v_index], v_last.position, v_sealed_at, v_sealed.kind
      );
      v_hashes[v_index] := v_last.hash;
    end loop;
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select v_last.position - v_count + entry.number, v_sealed.kind, entry.commitment, entry.hash, v_sealed_at
    from unnest(v_commitments, v_hashes) with ordinality as entry (commitment, hash, number);
    execute format(
      $statement$
        update %1$s as record
        set %3$I = entry.position, %4$I = entry.salt
        from unnest($1, $2, $3) as entry (key, salt, position)
        where record.%2$I = entry.key and record.%3$I is null
      $statement$,
      v_sealed.table_name,
      v_sealed.key_column,
      v_sealed.position_column,
      v_sealed.salt_column
    )
    using
      v_keys,
      v_salts,
      array(select generate_series(v_last.position - v_count + 1, v_last.position));
    get diagnostics v_updated = row_count;
    if v_updated < v_count then
      raise exception 'records of % were deleted while they were sealed', v_sealed.table_name
        using errcode = 'serialization_failure', hint = 'Call privacy.seal again.';
    end if;
    v_last.sealed_at := v_sealed_at;
    v_total := v_total + v_count;
  end loop;

  -- A record that is inserted later with an earlier time is found by the time of the last entry before it.
  if v_total = 0 and v_sealed_at >= coalesce(v_last.sealed_at, '-infinity') + interval '1 day' then
    insert into privacy.ledger (position, kind, commitment, hash, sealed_at)
    select
      entry.position, 'checkpoint', sha256(''),
      privacy._ledger_hash(v_last.hash, sha256(''), entry.position, v_sealed_at, 'checkpoint'), v_sealed_at
    from (values (coalesce(v_last.position, 0) + 1)) as entry (position);
  end if;
  return v_total;
end;
$$;

comment on function privacy.seal(int) is $$
@behavior -*
Enters the records that are new since the last call into the ledger, at most `most`, and returns their number.
The worker calls it; records wait for it, but nobody waits for them: recording a decision does not lock the ledger.
When nothing is new for a day, it adds a checkpoint. Calls at the same time wait for each other. Errors: CF001 for an
invalid `most`.
$$;

grant execute on function privacy.seal(int) to insights_worker;
--! EndIncluded privacy/ledger/seal.sql

--! Included privacy/ledger/needs_seal.sql
create or replace function privacy.needs_seal()
returns boolean
language plpgsql
stable
-- A definer: it reads the records of all kinds.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_sealed privacy.sealed_table;
  v_found boolean;
begin
  if not exists (select from privacy.ledger where ledger.sealed_at > now() - interval '1 day') then
    return true;
  end if;
  for v_sealed in
    select sealed_table.* from privacy.sealed_table
  loop
    execute format(
      'select true from %1$s as record where record.%2$I is null and (%3$s) limit 1',
      v_sealed.table_name, v_sealed.position_column, privacy._ready_condition(v_sealed)
    )
    into v_found;
    if v_found then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function privacy.needs_seal() is $$
@behavior -*
Returns whether `privacy.seal` has anything to do: new records, or a checkpoint once per day.
$$;

grant execute on function privacy.needs_seal() to insights_worker;
--! EndIncluded privacy/ledger/needs_seal.sql

--! Included privacy/access/export.sql
create or replace function privacy.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'consent_id', consent.consent_id,
        'purpose', consent.purpose,
        'granted', consent.granted,
        'decided_at', consent.decided_at,
        'recorded_at', consent.recorded_at,
        'source', consent.source,
        'identity', subject.names[array_position(subject.identity_ids, consent.identity_id)],
        'subject_name', consent.subject_name,
        'decided_by', consent.decided_by,
        'basis', consent.basis,
        'valid_until', consent.valid_until,
        'document_version', consent.document_version,
        'texts', shown.texts,
        'evidence', consent.evidence,
        'ledger_position', consent.ledger_position,
        'salt', encode(consent.salt, 'hex')
      )
      order by consent.decided_at, consent.recorded_at, consent.consent_id
    )
    from privacy.consent
    left join (
      select
        consent_text.purpose, consent_text.version,
        jsonb_object_agg(consent_text.language, consent_text.body) as texts
      from privacy.consent_text
      group by consent_text.purpose, consent_text.version
    ) as shown on shown.purpose = consent.purpose and shown.version = consent.document_version
    where consent.person_id = subject.person_id
  );
  return next privacy.exported_rows('privacy.consent', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'birth_date', age.birth_date,
        'is_verified', age.is_verified,
        'set_at', age.set_at,
        'identity', subject.names[array_position(subject.identity_ids, age.identity_id)]
      )
      order by age.identity_id
    )
    from privacy.person_age as age
    where age.person_id = subject.person_id
  );
  return next privacy.exported_rows('privacy.person_age', v_rows);
  return next privacy.exported_rows(
    'privacy.request',
    (
      select jsonb_agg(
        to_jsonb(request) - '{person_id,identity_id,subject_hash,salt,answer_salt}'::text[]
        || jsonb_build_object(
          'identity', (export.subject).names[array_position((export.subject).identity_ids, request.identity_id)]
        )
        order by request.received_at, request.request_id
      )
      from privacy.request
      where request.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.restriction',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', restriction.reason,
          'since', restriction.since,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, restriction.identity_id)]
        )
        order by restriction.identity_id
      )
      from privacy.restriction
      where restriction.person_id = (export.subject).person_id
    )
  );
  return next privacy.exported_rows(
    'privacy.export_log',
    (
      -- Her own exports by name; those of administrators without.
      select jsonb_agg(
        jsonb_build_object(
          'exported_at', export_log.exported_at,
          'exported_by', case
            when export_log.exported_by = any (privacy.user_names(export.subject)) then export_log.exported_by
            else 'an administrator'
          end,
          'row_count', export_log.row_count
        )
        order by export_log.exported_at
      )
      from privacy.export_log
      where export_log.identity_id = any ((export.subject).identity_ids)
    )
  );
  return next privacy.exported_rows(
    'privacy.disclosure',
    (
      -- With the names of the readers, to which she has a right (34 CFR 99.32(c)).
      select jsonb_agg(
        jsonb_build_object(
          'read_at', disclosure.read_at,
          'read_by', disclosure.read_by,
          'role', disclosure.role,
          'function_name', disclosure.function_name,
          'reason', disclosure.reason,
          'identity', (export.subject).names[array_position((export.subject).identity_ids, disclosure.identity_id)],
          'subject_name', disclosure.subject_name,
          'ledger_position', disclosure.ledger_position,
          'salt', encode(disclosure.salt, 'hex')
        )
        order by disclosure.read_at, disclosure.disclosure_id
      )
      from (
        select own.*
        from privacy.disclosure as own
        where own.identity_id = any ((export.subject).identity_ids)
        union all
        -- As privacy.my_disclosures: of the reads of a table by a reader for a reason, the last one of a day.
        (
          select distinct on (
            (of_all.read_at at time zone 'UTC')::date, of_all.read_by, of_all.role, of_all.function_name, of_all.reason
          )
            of_all.*
          from privacy.disclosure as of_all
          where of_all.identity_id is null
          order by
            (of_all.read_at at time zone 'UTC')::date, of_all.read_by, of_all.role, of_all.function_name,
            of_all.reason, of_all.read_at desc, of_all.disclosure_id
        )
      ) as disclosure
    )
  );
  return next privacy.exported_rows(
    'privacy.retention_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at, 'actor', entry.actor, 'rule', entry.rule, 'action', entry.action,
          'details', entry.details
        )
        order by entry.logged_at, entry.log_id
      )
      from privacy.retention_log as entry
      where entry.actor = any (privacy.user_names(export.subject))
    ),
    'Changes of rules of retention that the person made.'
  );
end;
$$;

comment on function privacy.export(privacy.subject) is $$
@behavior -*
Returns the decisions, date of birth, open requests and restrictions of a person, and the logs of her exports and reads.
Decisions have the texts that were shown, and the position in `privacy.ledger` and the salt, with which she can prove
later what she decided. For `privacy.export_person`.
$$;
--! EndIncluded privacy/access/export.sql

--! Included privacy/erasure/erase.sql
create or replace function privacy.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_positions constant bigint[] := array(
    select consent.ledger_position
    from privacy.consent
    where consent.person_id = any (subject.identity_ids)

    union all

    select disclosure.ledger_position
    from privacy.disclosure
    where disclosure.identity_id = any (subject.identity_ids)
  );
  v_deleted record;
begin
  -- The entries of the ledger stay: without the salts nobody can tell whose they were.
  perform privacy.account_removal(v_positions, 'erasure');
  return next privacy.erase_rows('privacy.consent', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.person_age', 'person_id', subject.identity_ids);
  return next privacy.erase_rows('privacy.export_log', 'identity_id', subject.identity_ids);
  -- The log of reads is kept as long as the record (34 CFR 99.32(a)(2)), and is erased with it.
  return next privacy.erase_rows('privacy.disclosure', 'identity_id', subject.identity_ids);
  return next privacy.clear_values('privacy.export_log', 'exported_by', privacy.user_names(subject));
  return next privacy.clear_values('privacy.retention_log', 'actor', privacy.user_names(subject));
  return query select erased.* from privacy.forget_rights(subject) as erased;

  -- The room ml is above this one and has no people: its keys are names that a model from outside contains.
  v_deleted := ml.delete_keys(privacy.user_names(subject));
  return next row('ml.embedding', v_deleted.embeddings, 'deleted')::privacy.erased;
  return next row('ml.score', v_deleted.scores, 'deleted')::privacy.erased;
end;
$$;

comment on function privacy.erase(privacy.subject) is $$
@behavior -*
Erases the decisions of a person, her date of birth, and the logs of her exports and of reads of her record.
Also answers her open requests, and deletes her vectors and scores in models from outside.
Called by `privacy.erase_person`, after the other rooms.
$$;
--! EndIncluded privacy/erasure/erase.sql

--! Included track/presence/stored_activity.sql
create or replace function track.stored_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_types int[] default null,
  of_items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_activity.people, stored_activity.first_days, stored_activity.end_days)
      as entry (person_id, first_day, end_day)
  ),

  sliced as (
    select
      part.person_id,
      part.event_type_id,
      part.is_automatic,
      part.occurred_at[part.before + 1:part.until] as occurred_at,
      part.item_ids[part.before + 1:part.until] as item_ids
    from (
      select
        step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
        and (stored_activity.event_types is null or step.event_type_id = any (stored_activity.event_types))
    ) as part
    where part.before < part.until
  )

  select
    happened.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    happened.event_type_id,
    nullif(happened.item_id, 0)::bigint,
    count(*)::int,
    interval '0',
    (count(*) filter (where happened.is_automatic))::int
  from (
    select
      sliced.person_id, sliced.event_type_id, sliced.is_automatic,
      unnest(sliced.occurred_at) as occurred_at, unnest(sliced.item_ids) as item_id
    from sliced
  ) as happened
  where stored_activity.of_items is null
    or happened.item_id = any (stored_activity.of_items)
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.page_view
    on page_view.person_id = period.person_id
    and page_view.session_ended_at >= period.since
    and page_view.session_started_at < period.until
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
    and (stored_activity.of_items is null or page_view.item_id = any (stored_activity.of_items))
  -- Until the first refresh after an upgrade, the page views of a person are in no table of presence and sums.
  where exists (select 1 from track.step where step.person_id = period.person_id)
    and stored_activity.event_types is null
  group by 1, 2, 4;
end;
$$;

comment on function track.stored_activity(bigint[], date[], date[], int[], bigint[]) is $$
@behavior -*
Returns the activity of people as of the last refresh, which is what the tables of presence and sums contain.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. Reads `track.step` and the page views. `event_types`: only events of these types, without page views; null:
everything. `of_items`: of these items only; null: all activity.
$$;

grant execute on function track.stored_activity(bigint[], date[], date[], int[], bigint[])
to insights_reader, insights_admin;
--! EndIncluded track/presence/stored_activity.sql

--! Included track/presence/event_activity.sql
create or replace function track.event_activity(
  people bigint[],
  first_days date[],
  end_days date[],
  event_types int[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people, and the plan contains the partitions of these days only.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
begin
  if v_since is null then
    return;
  end if;

  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(event_activity.people, event_activity.first_days, event_activity.end_days)
      as entry (person_id, first_day, end_day)
  )

  select
    event.person_id,
    (event.occurred_at at time zone 'UTC')::date,
    event.event_type_id,
    event.item_id,
    count(*)::int,
    interval '0',
    (count(*) filter (where event_type.is_automatic or source.is_automatic))::int
  from period
  join track.event
    on event.person_id = period.person_id
    and event.occurred_at >= period.since
    and event.occurred_at < period.until
  join track.event_type on event_type.event_type_id = event.event_type_id
  join track.source on source.source_id = event.source_id
  where event.occurred_at >= v_since
    and event.occurred_at < v_until
    and (event_activity.event_types is null or event.event_type_id = any (event_activity.event_types))
  group by 1, 2, 3, 4

  union all

  select
    page_view.person_id,
    (page_view.started_at at time zone 'UTC')::date,
    0,
    page_view.item_id,
    0,
    sum(page_view.engaged),
    0
  from period
  join track.page_view
    on page_view.person_id = period.person_id
    and page_view.session_ended_at >= period.since
    and page_view.session_started_at < period.until
    and page_view.started_at >= period.since
    and page_view.started_at < period.until
  where event_activity.event_types is null
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    and exists (
      select 1
      from track.event
      where event.person_id = page_view.person_id
        and event.occurred_at between page_view.started_at and page_view.ended_at
        and event.event_id = page_view.event_id
    )
  group by 1, 2, 4;
end;
$$;

comment on function track.event_activity(bigint[], date[], date[], int[]) is $$
@behavior -*
Returns the activity of people, computed from their events: what `track.stored_activity` returns after a refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `event_types`: only events of these types, without page views; null: everything.
The page views, with their engaged time, are those of the last refresh of the sessions.
$$;

grant execute on function track.event_activity(bigint[], date[], date[], int[]) to insights_reader, insights_admin;
--! EndIncluded track/presence/event_activity.sql

--! Included track/properties/stored_values.sql
create or replace function track.stored_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int default null
)
returns setof track.value_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with period as materialized (
    select
      entry.person_id,
      entry.first_day,
      entry.end_day,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from unnest(stored_values.people, stored_values.first_days, stored_values.end_days)
      as entry (person_id, first_day, end_day)
  ),

  missing as materialized (
    select stale_property.person_id, stale_property.property_id
    from track.stale_property
    where stale_property.person_id = any (stored_values.people)
  ),

  placed as (
    select
      step.person_id, declared.property_id, step.occurred_at, step_value.value_ids,
      width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
    from period
    join track.step
      on step.person_id = period.person_id
      -- Rows are by year, those of person 0 by day.
      and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
      and step.since < period.end_day
    join track.declared_property as declared
      on declared.event_type_id = step.event_type_id
      and declared.is_queued
      and declared.property_id = coalesce(stored_values.of_property, declared.property_id)
    left join track.step_value
      on step_value.person_id = step.person_id
      and step_value.property_id = declared.property_id
      and step_value.is_automatic = step.is_automatic
      and step_value.since = step.since
    where not exists (
      select 1
      from missing
      where missing.person_id = step.person_id
        and missing.property_id = declared.property_id
    )
  ),

  sliced as (
    select
      placed.person_id,
      placed.property_id,
      placed.occurred_at[placed.before + 1:placed.until] as occurred_at,
      placed.value_ids[placed.before + 1:placed.until] as value_ids
    from placed
    where placed.before < placed.until
  )

  select
    sliced.person_id,
    (happened.occurred_at at time zone 'UTC')::date,
    sliced.property_id,
    coalesce(happened.value_id, 0),
    count(*)::int
  from sliced
  cross join lateral unnest(sliced.occurred_at, sliced.value_ids) as happened (occurred_at, value_id)
  group by 1, 2, 3, 4;
end;
$$;

comment on function track.stored_values(bigint[], date[], date[], int) is $$
@behavior -*
Returns the events of people by value of the declared properties, as of the last refresh.
Each position is a person, the first day, and the day after the last one (UTC). The ranges of a person must not
overlap. `of_property` null: all properties. It is what `track.value_presence` contains.
$$;

grant execute on function track.stored_values(bigint[], date[], date[], int) to insights_reader, insights_admin;
--! EndIncluded track/properties/stored_values.sql

--! Included track/properties/_refresh_step_values.sql
/*
 * Values are joined to the stored journeys by time, item and rank among equal events, so that both lists have the same
 * positions, also when events were stored since the journeys were refreshed: their people are queued again.
 * Rows are grouped and not joined, so that the cost is linear regardless of the statistics.
 */
create or replace function track._refresh_step_values(
  people bigint[],
  first_days date[],
  end_days date[],
  of_property int
)
returns int[]
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := (select min(day) from unnest(first_days) as day)::timestamp at time zone 'UTC';
  v_until constant timestamptz := (select max(day) from unnest(end_days) as day)::timestamp at time zone 'UTC';
  v_has_new boolean;
  v_entered int[] := '{}';
begin
  -- Nothing is written if there are new values. They are rare, so that the events are read for them only then.
  for v_attempt in 1 .. 2 loop
    with period as materialized (
      select
        entry.person_id,
        entry.first_day,
        entry.end_day,
        entry.first_day::timestamp at time zone 'UTC' as since,
        entry.end_day::timestamp at time zone 'UTC' as until
      from unnest(_refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days)
        as entry (person_id, first_day, end_day)
    ),

    declared as materialized (
      select known.property_id, known.event_type_id, known.property
      from track.declared_property as known
      where known.is_queued
        and known.property_id = coalesce(_refresh_step_values.of_property, known.property_id)
    ),

    missing as materialized (
      select stale_property.person_id, stale_property.property_id
      from track.stale_property
      where stale_property.person_id = any (_refresh_step_values.people)
    ),

    placed as (
      select
        step.person_id, declared.property_id, step.is_automatic, step.since, step.occurred_at, step.item_ids,
        stored.value_ids as stored_ids,
        width_bucket(period.since - interval '1 microsecond', step.occurred_at) as before,
        width_bucket(period.until - interval '1 microsecond', step.occurred_at) as until
      from period
      join track.step
        on step.person_id = period.person_id
        -- Rows are by year, those of person 0 by day.
        and step.since > period.first_day - case when period.person_id = 0 then 1 else 366 end
        and step.since < period.end_day
      join declared on declared.event_type_id = step.event_type_id
      left join track.step_value as stored
        on stored.person_id = step.person_id
        and stored.property_id = declared.property_id
        and stored.is_automatic = step.is_automatic
        and stored.since = step.since
      where not exists (
        select 1
        from missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
    ),

    journey as materialized (
      select
        placed.person_id, placed.property_id, placed.is_automatic, placed.since, placed.stored_ids, placed.before,
        cardinality(placed.occurred_at) - placed.until as after,
        placed.occurred_at[placed.before + 1:placed.until] as occurred_at,
        placed.item_ids[placed.before + 1:placed.until] as item_ids
      from placed
    ),

    listed as (
      select
        journey.person_id, journey.property_id, journey.is_automatic, journey.since,
        entry.occurred_at, entry.item_id, entry.place, null as value
      from journey
      cross join lateral unnest(journey.occurred_at, journey.item_ids)
        with ordinality as entry (occurred_at, item_id, place)

      union all

      select
        event.person_id, declared.property_id, event_type.is_automatic or source.is_automatic,
        case
          when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
          else date_trunc('year', event.occurred_at at time zone 'UTC')::date
        end,
        event.occurred_at, coalesce(event.item_id, 0)::int, null,
        left(event.properties ->> declared.property, 200)
      from period
      join track.event
        on event.person_id = period.person_id
        and event.occurred_at >= period.since
        and event.occurred_at < period.until
      join declared on declared.event_type_id = event.event_type_id
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
    ),

    ranked as (
      select
        listed.*,
        row_number() over (
          partition by person_id, property_id, is_automatic, since, occurred_at, item_id, place is null
          order by place, value collate "C"
        ) as rank
      from listed
    ),

    matched as (
      select
        person_id, property_id, is_automatic, since, occurred_at, item_id, rank,
        max(place) as place, max(value collate "C") as value
      from ranked
      group by person_id, property_id, is_automatic, since, occurred_at, item_id, rank
      having max(place) is not null
    ),

    fresh as (
      select
        matched.person_id, matched.property_id, matched.is_automatic, matched.since,
        array_agg(coalesce(known.value_id, 0) order by matched.place) as value_ids,
        bool_or(matched.value is not null and known.value_id is null) as has_new
      from matched
      left join track.property_value as known
        on known.property_id = matched.property_id and known.value = matched.value
      group by matched.person_id, matched.property_id, matched.is_automatic, matched.since
    ),

    found as materialized (
      select coalesce(bool_or(fresh.has_new), false) as has_new from fresh
    ),

    -- The stored values before and after the period are kept.
    merged as (
      select
        person_id, property_id, is_automatic, since, journey.stored_ids,
        coalesce(journey.stored_ids[:journey.before], array_fill(0, array[journey.before]))
          || coalesce(fresh.value_ids, '{}')
          || coalesce(
            journey.stored_ids[cardinality(journey.stored_ids) - journey.after + 1:],
            array_fill(0, array[journey.after])
          ) as value_ids
      from journey
      full join fresh using (person_id, property_id, is_automatic, since)
    ),

    deleted as (
      delete from track.step_value
      using merged, found
      where (v_attempt = 2 or not found.has_new)
        and merged.stored_ids is not null
        and 0 = all (merged.value_ids)
        and step_value.person_id = merged.person_id
        and step_value.property_id = merged.property_id
        and step_value.is_automatic = merged.is_automatic
        and step_value.since = merged.since
    ),

    written as (
      insert into track.step_value (person_id, property_id, is_automatic, since, value_ids)
      select merged.person_id, merged.property_id, merged.is_automatic, merged.since, merged.value_ids
      from merged
      cross join found
      where (v_attempt = 2 or not found.has_new)
        and not 0 = all (merged.value_ids)
        and merged.value_ids is distinct from merged.stored_ids
      on conflict on constraint step_value_pkey do update
      set value_ids = excluded.value_ids
    )

    select found.has_new into v_has_new from found;

    exit when v_attempt = 2 or not v_has_new;
    v_entered := track._enter_values(people, first_days, end_days, of_property);
  end loop;

  -- Those of journeys that are no longer there.
  delete from track.step_value
  using
    unnest(
      _refresh_step_values.people, _refresh_step_values.first_days, _refresh_step_values.end_days
    ) as period (person_id, first_day, end_day),
    track.declared_property as declared
  where step_value.person_id = period.person_id
    and step_value.since > period.first_day - 366
    and step_value.since < period.end_day
    and declared.property_id = step_value.property_id
    and declared.property_id = coalesce(_refresh_step_values.of_property, declared.property_id)
    and not exists (
      select 1
      from track.step
      where step.person_id = step_value.person_id
        and step.event_type_id = declared.event_type_id
        and step.is_automatic = step_value.is_automatic
        and step.since = step_value.since
    );
  return v_entered;
end;
$$;

comment on function track._refresh_step_values(bigint[], date[], date[], int) is $$
Recomputes the rows of `track.step_value` in the given days (UTC) of people, after their rows of `track.step`.
Each position is a person, the first day, and the day after the last one. `of_property` null: all declared properties.
Adds new values to `track.property_value`, and returns their keys.
$$;
--! EndIncluded track/properties/_refresh_step_values.sql

--! Included track/presence/queued_days.sql
create or replace function track.queued_days(
  first_day date,
  end_day date,
  of_people bigint[] default null,
  out people bigint[],
  out first_days date[],
  out end_days date[]
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the length of the queues.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := queued_days.first_day::timestamp at time zone 'UTC';
  v_until constant timestamptz := queued_days.end_day::timestamp at time zone 'UTC';
  v_moved bigint[];
begin
  if v_since >= v_until then
    return;
  end if;

  v_moved := array(select track.moved_people());
  with queued as (
    select
      stale.person_id,
      greatest((stale.since at time zone 'UTC')::date, queued_days.first_day) as first_day,
      least((stale.until at time zone 'UTC')::date + 1, queued_days.end_day) as end_day
    from track.stale
    where stale.since < v_until
      and stale.until >= v_since
      and (queued_days.of_people is null or stale.person_id = any (queued_days.of_people))

    union all

    -- The sums contain people as of the last refresh of the sets.
    select moved.person_id, queued_days.first_day, queued_days.end_day
    from unnest(v_moved) as moved (person_id)
    where queued_days.of_people is null or moved.person_id = any (queued_days.of_people)
  ),

  merged as (
    select queued.person_id, min(queued.first_day) as first_day, max(queued.end_day) as end_day
    from queued
    group by queued.person_id
  )

  select array_agg(merged.person_id), array_agg(merged.first_day), array_agg(merged.end_day)
  into people, first_days, end_days
  from merged;
end;
$$;

comment on function track.queued_days(date, date, bigint[]) is $$
@behavior -*
Returns the days between two (`end_day` exclusive) for which presence and sums are not refreshed yet.
One position per person: the first day, and the day after the last one. Null when there are none. `of_people`: only
these people; null: all.
A reader of these tables subtracts `track.stored_activity` of these days and adds `track.event_activity`, so that its
result is the same before and after a refresh.
$$;

grant execute on function track.queued_days(date, date, bigint[]) to insights_reader, insights_admin;
--! EndIncluded track/presence/queued_days.sql

--! Included track/presence/activity_of.sql
create or replace function track.activity_of(
  people bigint[], first_day date, end_day date, event_types int[] default null, of_items bigint[] default null
)
returns setof track.activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people constant bigint[] := coalesce(
    activity_of.people,
    array(select person.person_id from track.person)
  );
  v_queued record;
begin
  v_queued := track.queued_days(activity_of.first_day, activity_of.end_day, activity_of.people);

  -- For a queued person: the days before and after those that are queued.
  return query
  with kept as (
    select entry.person_id, activity_of.first_day, coalesce(queued.first_day, activity_of.end_day) as end_day
    from unnest(v_people) as entry (person_id)
    left join unnest(v_queued.people, v_queued.first_days) as queued (person_id, first_day) using (person_id)

    union all

    select queued.person_id, queued.end_day, activity_of.end_day
    from unnest(v_queued.people, v_queued.end_days) as queued (person_id, end_day)
  ),

  listed as (
    select
      array_agg(kept.person_id) as people,
      array_agg(kept.first_day) as first_days,
      array_agg(kept.end_day) as end_days
    from kept
    where kept.first_day < kept.end_day
  )

  select stored.*
  from listed
  cross join lateral track.stored_activity(
    listed.people, listed.first_days, listed.end_days, activity_of.event_types, activity_of.of_items
  ) as stored;

  return query
  select computed.*
  from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, activity_of.event_types)
    as computed
  where activity_of.of_items is null
    or computed.item_id = any (activity_of.of_items);
end;
$$;

comment on function track.activity_of(bigint[], date, date, int[], bigint[]) is $$
@behavior -*
Returns the activity of people on the days between two (`end_day` exclusive), with the events that are not refreshed.
`people` null: all. `event_types`: only events of these types, without page views; null: everything. `of_items`: with
these items only; null: all activity. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function track.activity_of(bigint[], date, date, int[], bigint[])
to insights_reader, insights_admin;
--! EndIncluded track/presence/activity_of.sql

--! Included track/trust/_check_step_values.sql
create or replace function track._check_step_values(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first constant bigint := block::bigint * 4096;
  v_last constant bigint := v_first + 4095;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_result track.rollup_comparison;
  v_people bigint[];
begin
  -- One statement, so that events, rows and queue are those of one moment.
  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  missing as materialized (
    select stale_property.person_id, stale_property.property_id
    from track.stale_property
    where stale_property.person_id between v_first and v_last
  ),

  fresh as (
    select
      event.person_id,
      declared.property_id,
      event_type.is_automatic or source.is_automatic as is_automatic,
      case
        when event.person_id = 0 then (event.occurred_at at time zone 'UTC')::date
        else date_trunc('year', event.occurred_at at time zone 'UTC')::date
      end as since,
      array_agg(valued.value order by event.occurred_at, coalesce(event.item_id, 0), valued.value collate "C") as found
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    cross join lateral (select substr(event.properties ->> declared.property, 1, 200) as value) as valued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> all ((select queued.people from queued)::bigint[])
      and not exists (
        select 1
        from missing
        where missing.person_id = event.person_id
          and missing.property_id = declared.property_id
      )
    group by 1, 2, 3, 4
  ),

  journey as materialized (
    select
      step.person_id, declared.property_id, step.is_automatic, step.since,
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until,
      cardinality(step.occurred_at) as length
    from track.step
    join track.declared_property as declared on declared.event_type_id = step.event_type_id and declared.is_queued
    where step.person_id between v_first and v_last
      and step.since > _check_step_values.month - 366
      and step.since < v_end
      and not exists (
        select 1
        from missing
        where missing.person_id = step.person_id
          and missing.property_id = declared.property_id
      )
  ),

  step_value as materialized (
    select own.*
    from track.step_value as own
    where own.person_id between v_first and v_last
      and own.since > _check_step_values.month - 366
      and own.since < v_end
      and not exists (
        select 1
        from missing
        where missing.person_id = own.person_id
          and missing.property_id = own.property_id
      )
  ),

  stored as (
    select
      person_id, property_id, is_automatic, since,
      -- A row without a journey, or of another length, never agrees.
      coalesce(cardinality(step_value.value_ids) <> journey.length, journey.person_id is null) as is_wrong,
      case
        when step_value.value_ids is null then array_fill(null::text, array[journey.until - journey.before])
        else (
          select array_agg(
            case place.value_id
              when 0 then null
              else coalesce(property_value.value, format('unknown value %s', place.value_id))
            end
            order by place.number
          )
          from unnest(step_value.value_ids[journey.before + 1:journey.until])
            with ordinality as place (value_id, number)
          left join track.property_value on property_value.value_id = place.value_id
        )
      end as found
    from journey
    full join step_value using (person_id, property_id, is_automatic, since)
    where person_id <> all ((select queued.people from queued)::bigint[])
      and (
        journey.person_id is null
        or journey.before < journey.until
        or cardinality(step_value.value_ids) <> journey.length
      )
  ),

  compared as (
    select
      person_id, property_id, is_automatic, since,
      stored.is_wrong is true
        or coalesce(stored.found, '{}') is distinct from coalesce(fresh.found, '{}') as is_different
    from stored
    full join fresh using (person_id, property_id, is_automatic, since)
  )

  select
    count(*),
    count(*) filter (where compared.is_different),
    min(format('person %s, declared property %s, %s', compared.person_id, compared.property_id, compared.since))
      filter (where compared.is_different),
    array_agg(distinct compared.person_id) filter (where compared.is_different)
  into v_result.checked, v_result.differing, v_result.example, v_people
  from compared;

  if is_repair and v_people is not null then
    perform track._rewrite_step_values(v_people);
  end if;
  return v_result;
end;
$$;

comment on function track._check_step_values(date, int, boolean) is $$
Compares `track.step_value` with the events of a month and a block of people.
`is_repair`: writes the rows of the people that differ again.
$$;

create or replace function track._rewrite_step_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_first_days constant date[] := array_fill('-infinity'::date, array[cardinality(people)]);
  v_end_days constant date[] := array_fill('infinity'::date, array[cardinality(people)]);
begin
  perform track._refresh_step_values(people, v_first_days, v_end_days, null);
end;
$$;

comment on function track._rewrite_step_values(bigint[]) is $$
Recomputes all rows of `track.step_value` of people.
$$;
--! EndIncluded track/trust/_check_step_values.sql

--! Included track/trust/_check_value_presence.sql
create or replace function track._check_value_presence(month date, block int, is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set plan_cache_mode to force_custom_plan
as $$
declare
  v_part constant int := block / 4;
  v_first constant bigint := v_part::bigint * 16384;
  v_last constant bigint := v_first + 16383;
  v_end constant date := (month + interval '1 month')::date;
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := v_end::timestamp at time zone 'UTC';
  v_nobody constant bit(16384) := b'0'::bit(16384);
  v_one constant bit(16384) := b'1'::bit(16384);
  v_result track.rollup_comparison;
begin
  -- A row has the people of four blocks: it is compared with the first of these.
  if exists (
    select from track.person where person.person_id >= v_first and person.person_id < block::bigint * 4096
  ) then
    return row(0, 0, null, null)::track.rollup_comparison;
  end if;

  if is_repair then
    perform track._enter_values(
      listed.people,
      array_fill(_check_value_presence.month, array[cardinality(listed.people)]),
      array_fill(v_end, array[cardinality(listed.people)]),
      null
    )
    from (
      select array_agg(person.person_id) as people
      from track.person
      where person.person_id between v_first and v_last
    ) as listed
    where listed.people is not null;
  end if;

  with queued as materialized (
    select track._unrefreshed_people(v_first, v_last) as people
  ),

  raw as materialized (
    select
      event.person_id,
      (event.occurred_at at time zone 'UTC')::date as day,
      declared.property_id,
      substr(event.properties ->> declared.property, 1, 200) as value
    from track.event
    join track.declared_property as declared on declared.event_type_id = event.event_type_id and declared.is_queued
    where event.person_id between v_first and v_last
      and event.occurred_at >= v_since
      and event.occurred_at < v_until
  ),

  valued as (
    select
      raw.*,
      raw.person_id = any ((select queued.people from queued)::bigint[])
        or exists (
          select 1
          from track.stale_property as missing
          where missing.person_id = raw.person_id
            and missing.property_id = raw.property_id
        ) as is_queued
    from raw
  ),

  fresh as (
    select
      valued.property_id,
      coalesce('=' || valued.value, '') as key,
      valued.day,
      coalesce(
        bit_or(v_one >> (valued.person_id % 16384)::int)
          filter (where valued.person_id <> 0 and not valued.is_queued),
        v_nobody
      ) as people,
      (count(*) filter (where person.is_excluded is not true and not valued.is_queued))::int as event_count,
      (count(*) filter (where person.is_counted and not valued.is_queued))::int as counted_count
    from valued
    left join track._rollup_people(v_first, v_last) as person on person.person_id = valued.person_id
    group by 1, 2, 3
  ),

  -- Queued people are compared with nothing: their bits stay, and numbers that contain their events too.
  left_out as (
    select
      activity.property_id,
      case activity.value_id when 0 then '' else '=' || property_value.value end as key,
      activity.day,
      bit_or(v_one >> (activity.person_id % 16384)::int) as people
    from queued
    cross join track._unrefreshed_values(queued.people, _check_value_presence.month, v_end) as activity
    left join track.property_value on property_value.value_id = activity.value_id
    group by 1, 2, 3
  ),

  stored as (
    select
      value_presence.*,
      case value_presence.value_id
        when 0 then ''
        else coalesce('=' || property_value.value, format('unknown value %s', value_presence.value_id))
      end as key
    from track.value_presence
    left join track.property_value on property_value.value_id = value_presence.value_id
    where value_presence.day >= _check_value_presence.month
      and value_presence.day < v_end
      and value_presence.part = v_part
  ),

  compared as (
    select
      property_id, key, day, stored.value_id,
      coalesce(stored.people, v_nobody) as stored_people,
      coalesce(stored.event_count, 0) as stored_count,
      coalesce(stored.counted_count, 0) as stored_counted,
      coalesce(stored.people, v_nobody) & coalesce(left_out.people, v_nobody) | coalesce(fresh.people, v_nobody)
        as people,
      case when left_out.day is null then coalesce(fresh.event_count, 0) else coalesce(stored.event_count, 0) end
        as event_count,
      case when left_out.day is null then coalesce(fresh.counted_count, 0) else coalesce(stored.counted_count, 0) end
        as counted_count
    from stored
    full join fresh using (property_id, key, day)
    left join left_out using (property_id, key, day)
    where stored.day is not null
      or fresh.event_count > 0
      or bit_count(fresh.people) > 0
  ),

  differing as materialized (
    select compared.*
    from compared
    where (compared.people, compared.event_count, compared.counted_count)
      is distinct from (compared.stored_people, compared.stored_count, compared.stored_counted)
  ),

  deleted as (
    delete from track.value_presence
    using differing
    where is_repair
      and bit_count(differing.people) = 0
      and differing.event_count = 0
      and value_presence.property_id = differing.property_id
      and value_presence.value_id = differing.value_id
      and value_presence.day = differing.day
      and value_presence.part = v_part
  ),

  written as (
    insert into track.value_presence (property_id, value_id, day, part, people, event_count, counted_count)
    select
      differing.property_id, coalesce(differing.value_id, named.value_id), differing.day, v_part, differing.people,
      differing.event_count, differing.counted_count
    from differing
    left join (
      select property_value.property_id, property_value.value_id, '=' || property_value.value as key
      from track.property_value
      union all
      select declared.property_id, 0, ''
      from track.declared_property as declared
    ) as named using (property_id, key)
    where is_repair
      and (bit_count(differing.people) > 0 or differing.event_count > 0)
      and coalesce(differing.value_id, named.value_id) is not null
    on conflict on constraint value_presence_pkey do update
    set
      people = excluded.people,
      event_count = excluded.event_count,
      counted_count = excluded.counted_count
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('declared property %s, %s, part %s', differing.property_id, differing.day, v_part)
      from differing
      order by differing.property_id, differing.day
      limit 1
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_value_presence(date, int, boolean) is $$
Compares `track.value_presence` with the events of a month, and of the part of 16,384 people that begins with a block.
Other blocks are not compared. `is_repair`: writes what the events give.
$$;

create or replace function track._unrefreshed_values(people bigint[], first_day date, end_day date)
returns setof track.value_activity
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select stored.*
  from track.stored_values(
    people, array_fill(first_day, array[cardinality(people)]), array_fill(end_day, array[cardinality(people)])
  ) as stored;
end;
$$;

comment on function track._unrefreshed_values(bigint[], date, date) is $$
Returns the values of queued people that the rollups still contain, whose cells are not compared.
$$;
--! EndIncluded track/trust/_check_value_presence.sql

--! Included track/trust/_check_transitions.sql
create or replace function track._check_transitions(month date, items bigint[], is_repair boolean)
returns track.rollup_comparison
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_since constant timestamptz := month::timestamp at time zone 'UTC';
  v_until constant timestamptz := (month + interval '1 month') at time zone 'UTC';
  v_result track.rollup_comparison;
begin
  with counted as materialized (
    select stored.block, stored.people
    from track.person_set_block as stored
    where stored.name = 'counted'
  ),

  viewed as (
    select
      session.person_id, session.session_id, page_view.item_id, page_view.started_at,
      lead(page_view.item_id) over in_session as next_item_id,
      lead(page_view.started_at) over in_session as next_at
    from track.session
    join track.page_view on page_view.person_id = session.person_id and page_view.session_id = session.session_id
    where session.started_at >= v_since
      and session.started_at < v_until
      and session.view_item_ids && items
      and not page_view.is_continued
      and page_view.item_id is not null
      and exists (
        select 1
        from counted
        where counted.block = session.person_id / 4096
          and get_bit(counted.people, (session.person_id % 4096)::int) = 1
      )
    window in_session as (partition by session.person_id, session.session_id order by page_view.view_number)
  ),

  fresh as (
    select
      viewed.item_id as source_item_id,
      viewed.next_item_id as target_item_id,
      count(*) as transition_count,
      (count(distinct viewed.person_id))::int as person_count,
      (extract(epoch from sum(viewed.next_at - viewed.started_at)) * 1000000)::bigint as elapsed
    from viewed
    where viewed.item_id = any (items)
      and viewed.next_item_id <> viewed.item_id
    group by viewed.item_id, viewed.next_item_id
  ),

  compared as (
    select
      source_item_id, target_item_id, fresh.transition_count, fresh.person_count, fresh.elapsed,
      row(fresh.transition_count, fresh.person_count, fresh.elapsed)
        is distinct from row(stored.transition_count, stored.person_count, stored.elapsed) as is_different
    from (
      select item_transition.*
      from track.item_transition
      where item_transition.month = _check_transitions.month
        and item_transition.source_item_id = any (items)
    ) as stored
    full join fresh using (source_item_id, target_item_id)
    -- Queued months are recomputed by the next refresh.
    where not exists (
      select 1
      from track.stale_transition_month as stale_month
      where stale_month.month = _check_transitions.month
    )
  ),

  differing as materialized (
    select compared.*
    from compared
    where compared.is_different
  ),

  deleted as (
    delete from track.item_transition
    using differing
    where is_repair
      and differing.person_count is null
      and item_transition.month = _check_transitions.month
      and item_transition.source_item_id = differing.source_item_id
      and item_transition.target_item_id = differing.target_item_id
  ),

  written as (
    insert into track.item_transition (
      month, source_item_id, target_item_id, transition_count, person_count, elapsed
    )
    select
      _check_transitions.month, differing.source_item_id, differing.target_item_id, differing.transition_count,
      differing.person_count, differing.elapsed
    from differing
    where is_repair
      and differing.person_count is not null
    on conflict on constraint item_transition_pkey do update
    set
      transition_count = excluded.transition_count,
      person_count = excluded.person_count,
      elapsed = excluded.elapsed
  )

  select
    (select count(*) from compared),
    (select count(*) from differing),
    (
      select format('item %s, %s', min(differing.source_item_id), _check_transitions.month)
      from differing
      having count(*) > 0
    )
  into v_result.checked, v_result.differing, v_result.example;
  return v_result;
end;
$$;

comment on function track._check_transitions(date, bigint[], boolean) is $$
Compares `track.item_transition` with the page views of a month, of the transitions from some items.
`is_repair`: writes what the page views give.
$$;
--! EndIncluded track/trust/_check_transitions.sql

--! Included track/functions/_journey.sql
create or replace function track._journey(person_id bigint, since timestamptz, until timestamptz)
returns setof track.action
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  if _journey.person_id is null then
    return;
  end if;

  return query
  with happened as (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.properties, event_type.name,
      event_type.is_automatic or source.is_automatic as is_automatic
    from track.event
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    where event.person_id = _journey.person_id
      and event.occurred_at >= _journey.since
      and event.occurred_at < _journey.until
  )

  select
    session.session_id,
    case when not happened.is_automatic then (row_number() over session_in_order)::int end as action_number,
    happened.occurred_at,
    happened.name as event,
    item.external_id as item,
    item.kind as item_kind,
    item.title as item_title,
    case
      when not happened.is_automatic then happened.occurred_at - lag(happened.occurred_at) over session_in_order
    end as since_previous,
    happened.properties
  from happened
  left join track.item using (item_id)
  left join track.session
    on session.person_id = happened.person_id
    and not happened.is_automatic
    and happened.occurred_at between session.started_at and session.ended_at
  window session_in_order as (
    partition by session.session_id, happened.is_automatic
    order by happened.occurred_at, happened.event_id
  )
  order by happened.occurred_at, happened.event_id;
end;
$$;

comment on function track._journey(bigint, timestamptz, timestamptz) is $$
@behavior -queryField
Returns the actions of a person between two times, in order of time, with their sessions.
Events of an automatic type or source have no session.
$$;

grant execute on function track._journey(bigint, timestamptz, timestamptz) to insights_learner;
--! EndIncluded track/functions/_journey.sql

--! Included track/statements/_stored_events.sql
create or replace function track._stored_events(messages jsonb, source smallint, stored_at timestamptz)
returns table (message_id text, occurred_at timestamptz, event_id uuid, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
as $$
begin
  return query
  with message as materialized (
    select
      entry.value ->> 'messageId' as id,
      track._message_hash(entry.value ->> 'messageId') as hash,
      coalesce(entry.value ->> 'userId', entry.value ->> 'anonymousId') as name,
      case when entry.value ? 'userId' then '{user}'::text[] else '{anonymous,unverified}' end as kinds,
      (entry.value ->> 'timestamp')::timestamptz as sent_at
    from jsonb_array_elements(_stored_events.messages) as entry
  ),

  -- The time of an event is that of its message, or, if this is in the future, the arrival.
  period as materialized (
    select message.id, message.hash, identity.person_id, identity.identity_id, message.sent_at as since,
      message.sent_at as until
    from message
    join track.identity on identity.external_id = message.name and identity.kind = any (message.kinds)

    union all

    select message.id, message.hash, identity.person_id, identity.identity_id, _stored_events.stored_at,
      _stored_events.stored_at + interval '1 minute'
    from message
    join track.identity on identity.external_id = message.name and identity.kind = any (message.kinds)
  )

  select distinct period.id, event.occurred_at, event.event_id, event.identity_id
  from period
  join track.event
    on event.person_id = period.person_id
    and event.identity_id = period.identity_id
    and event.occurred_at between period.since and period.until
  where event.source_id = _stored_events.source
    and event.event_id = track._event_id(
      event.occurred_at, period.hash, event.source_id,
      case
        when event.client_at is not null then track._milliseconds_ahead(event.client_at, event.received_at)
      end
    );
end;
$$;

comment on function track._stored_events(jsonb, smallint, timestamptz) is $$
Returns the events of messages that were stored at a time, with the people that they name.
A message that was refused or anonymized has none.
$$;
--! EndIncluded track/statements/_stored_events.sql

--! Included track/access/_export_identities.sql
create or replace function track._export_identities(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  return next privacy.exported_rows(
    'track.person',
    (
      select jsonb_agg(jsonb_build_object('created_at', person.created_at))
      from track.person
      where person.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.identity',
    (
      select jsonb_agg(
        jsonb_build_object(
          'external_id', identity.external_id,
          'kind', identity.kind,
          'created_at', identity.created_at,
          'user_identity', subject.names[array_position(subject.identity_ids, identity.user_identity_id)],
          'browser', identity.browser
        )
        order by identity.identity_id
      )
      from track.identity
      where identity.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.identity_link',
    (
      -- A link that was removed, or a claim without proof, can lead to a name of another person, which is left out.
      select jsonb_agg(
        jsonb_build_object(
          'identity', subject.names[array_position(subject.identity_ids, link.identity_id)],
          'linked_identity', subject.names[array_position(subject.identity_ids, link.linked_identity_id)],
          'kind', link.kind,
          'linked_at', link.linked_at,
          'unlinked_at', link.unlinked_at
        )
        order by link.linked_at, link.identity_id, link.linked_identity_id
      )
      from track.identity_link as link
      where link.identity_id = any (subject.identity_ids)
        or link.linked_identity_id = any (subject.identity_ids)
    )
  );
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'name', trait.name,
        'value', trait.value,
        'set_at', trait.set_at,
        'identity', subject.names[array_position(subject.identity_ids, trait.identity_id)]
      )
      order by trait.name, trait.set_at, trait.identity_id
    )
    from track.trait
    where trait.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.trait', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'name', history.name,
        'since', history.since,
        'set_at', to_jsonb(history.set_at),
        'value', to_jsonb(history.value),
        'repeated_at', to_jsonb(history.repeated_at),
        'identity', subject.names[array_position(subject.identity_ids, history.identity_id)]
      )
      order by history.name, history.since, history.identity_id
    )
    from track.trait_history as history
    where history.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.trait_history', v_rows);
end;
$$;

comment on function track._export_identities(privacy.subject) is $$
Returns the names and traits of a person, for `track.export`.
$$;
--! EndIncluded track/access/_export_identities.sql

--! Included track/access/_export_application.sql
create or replace function track._export_application(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'named_item', named_item.external_id,
        'status', enrolment.status,
        'enrolled_at', enrolment.enrolled_at,
        'ended_at', enrolment.ended_at,
        'identity', subject.names[array_position(subject.identity_ids, enrolment.identity_id)]
      )
      order by enrolment.enrolled_at, enrolment.item_id, enrolment.identity_id
    )
    from track.enrolment
    join track.item using (item_id)
    left join track.item as named_item on named_item.item_id = enrolment.named_item_id
    where enrolment.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.enrolment', v_rows);
  return next privacy.exported_rows(
    'track.item_role',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'item_title', item.title,
          'role', item_role.role,
          'started_at', item_role.started_at,
          'ended_at', item_role.ended_at,
          'identity', subject.names[array_position(subject.identity_ids, item_role.identity_id)]
        )
        order by item_role.item_id, item_role.role, item_role.started_at, item_role.identity_id
      )
      from track.item_role
      join track.item using (item_id)
      where item_role.person_id = subject.person_id
    )
  );
  return next privacy.exported_rows(
    'track.person_set_block',
    (
      select jsonb_agg(
        jsonb_build_object('name', person_set.name, 'description', person_set.description)
        order by person_set.name
      )
      from track.person_set_block as stored
      join track.person_set using (name)
      where stored.block = subject.person_id / 4096
        and get_bit(stored.people, (subject.person_id % 4096)::int) = 1
    )
  );
  return next privacy.exported_rows(
    'track.person_set_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'name', member.name,
          'identity', subject.names[array_position(subject.identity_ids, member.identity_id)]
        )
        order by member.name, member.identity_id
      )
      from track.person_set_member as member
      where member.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.exclusion',
    (
      select jsonb_agg(
        jsonb_build_object(
          'reason', exclusion.reason,
          'note', exclusion.note,
          'excluded_at', exclusion.excluded_at,
          'identity', subject.names[array_position(subject.identity_ids, exclusion.identity_id)]
        )
        order by exclusion.identity_id
      )
      from track.exclusion
      where exclusion.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.item_source',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'attribute', told.attribute,
          'value', case told.attribute
            when 'name' then item.external_id
            when 'kind' then coalesce(named.kind, item.kind)
            when 'title' then coalesce(named.title, item.title)
            when 'url' then coalesce(named.url, item.url)
            when 'parent' then parent.external_id
          end,
          'identity', subject.names[array_position(subject.identity_ids, told.identity_id)]
        )
        order by told.item_id, told.attribute
      )
      from track.item_source as told
      join track.item using (item_id)
      -- Of an item that was merged, its description under its own name.
      left join track.named_item as named using (item_id)
      left join track.item as parent
        on parent.item_id = case when named.item_id is not null then named.parent_item_id else item.parent_item_id end
      where told.identity_id = any (subject.identity_ids)
    )
  );
  return next privacy.exported_rows(
    'track.name_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'name', entry.name,
          'target', entry.target,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.name_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.forgotten_import',
    (
      select jsonb_agg(
        jsonb_build_object(
          'started_at', entry.started_at,
          'completed_at', entry.completed_at,
          'name', entry.name,
          'actor', entry.actor
        )
        order by entry.started_at, entry.source_id
      )
      from track.forgotten_import as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'track.write_key_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at,
          'action', entry.action,
          'key_id', entry.key_id,
          'details', entry.details,
          'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from track.write_key_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function track._export_application(privacy.subject) is $$
Returns what the application and its administrators store about a person, for `track.export`.
Enrolments, roles, sets, the exclusion from figures, items that she named first, and what she did as an administrator.
$$;
--! EndIncluded track/access/_export_application.sql

--! Included track/access/_export_events.sql
create or replace function track._export_events(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'occurred_at', event.occurred_at,
        'event', event_type.name,
        'named_event', named_event.name,
        'item', item.external_id,
        'item_title', item.title,
        'named_item', named_item.external_id,
        'properties', event.properties,
        'client_at', event.client_at,
        'received_at', event.received_at,
        'source', source.name,
        'identity', subject.names[array_position(subject.identity_ids, event.identity_id)],
        'event_id', event.event_id
      )
      order by event.occurred_at, event.event_id
    )
    from track.event
    join track.event_type using (event_type_id)
    join track.source using (source_id)
    left join track.item using (item_id)
    left join track.event_type as named_event on named_event.event_type_id = event.named_event_type_id
    left join track.item as named_item on named_item.item_id = event.named_item_id
    where event.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.event', v_rows);
  -- Durations as text of this session: a worker of a cluster has other settings.
  v_rows := (
    with session as materialized (
      select own.*
      from track.session as own
      where own.person_id = subject.person_id
    ),

    page_view as materialized (
      select own.*
      from track.page_view as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'session_id', session.session_id,
        'started_at', session.started_at,
        'ended_at', session.ended_at,
        'event_count', session.event_count,
        'view_count', session.view_count,
        'engaged', session.engaged,
        'engaged_by', session.engaged_by,
        'entry_item', entry_item.external_id,
        'exit_item', exit_item.external_id,
        'views', viewed.views
      )
      order by session.started_at, session.session_id
    )
    from session
    left join track.item as entry_item on entry_item.item_id = session.entry_item_id
    left join track.item as exit_item on exit_item.item_id = session.exit_item_id
    left join (
      select
        page_view.session_id,
        jsonb_agg(
          jsonb_build_object(
            'event_id', page_view.event_id,
            'item', item.external_id,
            'item_title', item.title,
            'started_at', page_view.started_at,
            'ended_at', page_view.ended_at,
            'engaged', page_view.engaged,
            'engaged_by', page_view.engaged_by,
            'heartbeat_count', page_view.heartbeat_count,
            'is_continued', page_view.is_continued,
            'view_key', page_view.view_key
          )
          order by page_view.view_number
        ) as views
      from page_view
      left join track.item using (item_id)
      group by page_view.session_id
    ) as viewed using (session_id)
  );
  return next privacy.exported_rows('track.session', v_rows);
  v_rows := (
    select jsonb_agg(jsonb_build_object('since', period.since, 'until', period.until))
    from track.automatic_period as period
    where period.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.automatic_period', v_rows);
  v_rows := (
    select jsonb_agg(jsonb_build_object('since', stale.since, 'until', stale.until) order by stale.since, stale.until)
    from track.stale
    where stale.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.stale', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object('consumer', changed.consumer, 'since', changed.since, 'until', changed.until)
      order by changed.consumer, changed.since, changed.until
    )
    from track.changed
    where changed.person_id = subject.person_id
  );
  return next privacy.exported_rows('track.changed', v_rows);
  return next privacy.exported_rows(
    'track.stale_property',
    (
      select jsonb_agg(
        jsonb_build_object('event', event_type.name, 'property', declared.property)
        order by event_type.name, declared.property
      )
      from track.stale_property
      join track.declared_property as declared using (property_id)
      join track.event_type using (event_type_id)
      where stale_property.person_id = subject.person_id
    )
  );
end;
$$;

comment on function track._export_events(privacy.subject) is $$
Returns the events and sessions of a person, and what is queued for her, for `track.export`.
$$;
--! EndIncluded track/access/_export_events.sql

--! Included track/access/_export_rollups.sql
create or replace function track._export_rollups(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with step as materialized (
      select own.*
      from track.step as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'event', event_type.name,
        'is_automatic', step.is_automatic,
        'since', step.since,
        'occurred_at', to_jsonb(step.occurred_at),
        'items', (
          select jsonb_agg(item.external_id order by listed.position)
          from unnest(step.item_ids) with ordinality as listed (item_id, position)
          left join track.item on item.item_id = listed.item_id
        )
      )
      order by event_type.name, step.since, step.is_automatic
    )
    from step
    join track.event_type using (event_type_id)
  );
  return next privacy.exported_rows('track.step', v_rows);
  v_rows := (
    with stored as materialized (
      select own.*
      from track.step_value as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'event', event_type.name,
        'property', declared.property,
        'is_automatic', stored.is_automatic,
        'since', stored.since,
        'values', (
          select jsonb_agg(property_value.value order by listed.position)
          from unnest(stored.value_ids) with ordinality as listed (value_id, position)
          left join track.property_value on property_value.value_id = listed.value_id
        )
      )
      order by event_type.name, declared.property, stored.since, stored.is_automatic
    )
    from stored
    join track.declared_property as declared using (property_id)
    join track.event_type using (event_type_id)
  );
  return next privacy.exported_rows('track.step_value', v_rows);
  return next privacy.exported_rows(
    'track.presence',
    (
      select jsonb_agg(
        jsonb_build_object('event', by_type.event, 'days', by_type.days) order by by_type.event nulls first
      )
      from (
        -- Null: any event that is not automatic.
        select event_type.name as event, jsonb_agg(presence.day order by presence.day) as days
        from track.presence
        left join track.event_type using (event_type_id)
        where presence.block = subject.person_id / 4096
          and get_bit(presence.people, (subject.person_id % 4096)::int) = 1
        group by event_type.name
      ) as by_type
    )
  );
  return next privacy.exported_rows(
    'track.value_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'event', by_value.event, 'property', by_value.property, 'value', by_value.value, 'days', by_value.days
        )
        order by by_value.event, by_value.property, by_value.value
      )
      from (
        select
          event_type.name as event, declared.property, property_value.value,
          jsonb_agg(present.day order by present.day) as days
        from track.value_presence as present
        join track.declared_property as declared using (property_id)
        join track.event_type using (event_type_id)
        left join track.property_value using (value_id)
        where present.part = subject.person_id / 16384
          and get_bit(present.people, (subject.person_id % 16384)::int) = 1
        group by event_type.name, declared.property, property_value.value
      ) as by_value
    )
  );
  return next privacy.exported_rows(
    'track.item_month',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.people, (subject.person_id % 32768)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.item_month as used
      join track.item using (item_id)
      where used.part = subject.person_id / 32768
        and (subject.person_id % 32768)::smallint = any (used.people)
    )
  );
  return next privacy.exported_rows(
    'track.course_presence',
    (
      select jsonb_agg(
        jsonb_build_object(
          'item', item.external_id,
          'month', used.month,
          'days', track._days_of_bits(used.days[array_position(used.members, (subject.person_id % 4096)::smallint)])
        )
        order by used.month, item.external_id
      )
      from track.course_presence as used
      join track.item using (item_id)
      where used.block = subject.person_id / 4096
        and get_bit(used.people, (subject.person_id % 4096)::int) = 1
    )
  );
end;
$$;

comment on function track._export_rollups(privacy.subject) is $$
Returns what is derived from the events of a person, with days and names in place of bits, for `track.export`.
$$;

create or replace function track._days_of_bits(days int)
returns jsonb
language sql
stable
parallel safe
begin atomic
  select coalesce(jsonb_agg(day order by day) filter (where days & (1 << (day - 1)) <> 0), '[]')
  from generate_series(1, 31) as day;
end;

comment on function track._days_of_bits(int) is $$
Returns the days of the month of a number of `track.item_month.days` as a list.
$$;
--! EndIncluded track/access/_export_rollups.sql

--! Included track/erasure/_other_use.sql
create or replace function track._other_use(
  items bigint[],
  event_types int[],
  out used_items bigint[],
  out used_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type int;
  v_open int[] := '{}';
begin
  -- Refreshed events of people, those without a person, and those that are not refreshed.
  used_items := array(
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_other_use.items)
    union
    select item_day.item_id
    from track.item_day
    where item_day.item_id = any (_other_use.items)
    union
    select unnest(array[item_transition.source_item_id, item_transition.target_item_id])
    from track.item_transition
    where item_transition.source_item_id = any (_other_use.items)
      or item_transition.target_item_id = any (_other_use.items)
    union
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = 0
      and step.item_ids && _other_use.items::int[]
    union
    select unnest(array[event.item_id, event.named_item_id])
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where event.item_id = any (_other_use.items)
      or event.named_item_id = any (_other_use.items)
    union
    select enrolment.named_item_id
    from track.enrolment
    where enrolment.named_item_id = any (_other_use.items)
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_other_use.items)
    union
    select imported_item.parent_item_id
    from track.imported_item
    where imported_item.parent_item_id = any (_other_use.items)
  );
  used_types := '{}';
  foreach v_type in array coalesce(_other_use.event_types, '{}') loop
    perform
    from track.step
    where step.event_type_id = v_type
    limit 1;
    if found then
      used_types := used_types || v_type;
    else
      v_open := v_open || v_type;
    end if;
  end loop;
  if v_open <> '{}' then
    used_types := used_types || array(
      select distinct unnest(array[event.event_type_id, event.named_event_type_id])
      from track.stale
      join track.event
        on event.person_id = stale.person_id
        and event.occurred_at between stale.since and stale.until
      where event.event_type_id = any (v_open)
        or event.named_event_type_id = any (v_open)
    );
  end if;
end;
$$;

comment on function track._other_use(bigint[], int[]) is $$
Returns which of the given items and event types have events or enrolments, or are in the structure of an import.
$$;
--! EndIncluded track/erasure/_other_use.sql

--! Included track/erasure/_erase_descriptions.sql
create or replace function track._replace_descriptions(identities bigint[], items bigint[], with_parents boolean)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_cleared bigint;
  v_named bigint[];
  v_item_id bigint;
  v_courses bigint[] := '{}';
begin
  -- As track.sync_enrolments adds an item.
  for v_item_id in
    select distinct source.item_id
    from track.item_source as source
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute = 'kind'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
  loop
    perform
    from track.enrolment
    where v_item_id in (enrolment.item_id, enrolment.named_item_id)
      and coalesce(enrolment.named_item_id, enrolment.item_id) = v_item_id
      and num_nulls(enrolment.source_id) > 0
    limit 1;
    if found then
      v_courses := v_courses || v_item_id;
    end if;
  end loop;

  with own as materialized (
    select source.item_id, array_agg(source.attribute) as attributes
    from track.item_source as source
    where source.identity_id = any (_replace_descriptions.identities)
      and source.attribute <> 'name'
      and (_replace_descriptions.items is null or source.item_id = any (_replace_descriptions.items))
    group by source.item_id
  ),

  told as materialized (
    select own.item_id, entry.attribute, other.said, other.identity_id
    from own
    cross join lateral unnest(own.attributes) as entry (attribute)
    left join lateral track._told_by_others(own.item_id, own.attributes) as other
      on other.attribute = entry.attribute
      and (_replace_descriptions.with_parents or entry.attribute <> 'parent')
  ),

  -- A parent that was not entered, because the item had another one.
  entered as (
    insert into track.item (external_id)
    select distinct told.said
    from told
    where told.attribute = 'parent'
      and told.said is not null
      and not exists (select 1 from track.item where item.external_id = told.said)
    returning item.item_id, item.external_id
  ),

  named as (
    insert into track.item_source (item_id, attribute, identity_id)
    select entered.item_id, 'name', min(told.identity_id)
    from entered
    join told on told.attribute = 'parent' and told.said = entered.external_id
    group by entered.item_id
  ),

  by_item as (
    select
      told.item_id,
      bool_or(told.attribute = 'kind') as has_kind, max(told.said) filter (where told.attribute = 'kind') as kind,
      bool_or(told.attribute = 'title') as has_title, max(told.said) filter (where told.attribute = 'title') as title,
      bool_or(told.attribute = 'url') as has_url, max(told.said) filter (where told.attribute = 'url') as url,
      bool_or(told.attribute = 'parent') as has_parent,
      max(coalesce(entered.item_id, parent.item_id)) filter (where told.attribute = 'parent') as named_parent_id,
      max(coalesce(entered.item_id, parent.merged_item_id, parent.item_id))
        filter (where told.attribute = 'parent') as parent_item_id,
      bool_or(num_nonnulls(parent.merged_item_id) > 0) as has_merged_parent,
      case when told.item_id = any (v_courses) then 'course' else 'unknown' end as other_kind
    from told
    left join entered on told.attribute = 'parent' and entered.external_id = told.said
    left join track.item as parent on told.attribute = 'parent' and parent.external_id = told.said
    group by told.item_id
  ),

  changed as (
    update track.item
    set
      kind = case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else item.kind end,
      title = case when by_item.has_title then by_item.title else item.title end,
      url = case when by_item.has_url then by_item.url else item.url end,
      parent_item_id = case
        when by_item.has_parent then nullif(by_item.parent_item_id, item.item_id)
        else item.parent_item_id
      end
    from by_item
    where item.item_id = by_item.item_id
      and not exists (select 1 from track.named_item where named_item.item_id = item.item_id)
    returning item.item_id
  ),

  -- Items of a merge, and items whose parent is merged.
  changed_names as (
    insert into track.named_item
    select
      described.item_id,
      case when by_item.has_kind then coalesce(by_item.kind, by_item.other_kind) else described.kind end,
      case when by_item.has_title then by_item.title else described.title end,
      case
        when by_item.has_parent then nullif(by_item.named_parent_id, by_item.item_id) else described.parent_item_id
      end,
      case when by_item.has_url then by_item.url else described.url end,
      described.language, described.attributes, described.available_from, described.available_until, described.due_at
    from by_item
    cross join lateral track._descriptions(array[by_item.item_id]) as described
    where by_item.has_merged_parent
      or exists (select 1 from track.named_item where named_item.item_id = by_item.item_id)
    on conflict (item_id) do update
    set
      kind = excluded.kind,
      title = excluded.title,
      parent_item_id = excluded.parent_item_id,
      url = excluded.url
    returning named_item.item_id
  ),

  deleted as (
    delete from track.item_source
    using told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and (told.identity_id is null or told.attribute = 'kind' and told.said = by_item.other_kind)
  ),

  renamed as (
    update track.item_source
    set identity_id = told.identity_id
    from told, by_item
    where item_source.item_id = told.item_id
      and item_source.attribute = told.attribute
      and by_item.item_id = told.item_id
      and told.identity_id is not null
      and (told.attribute <> 'kind' or told.said <> by_item.other_kind)
  )

  select
    array(select changed_names.item_id from changed_names),
    (select count(*) from (select changed.item_id from changed union select item_id from changed_names) as entry)
  into v_named, v_cleared;
  perform track._describe_merged(v_named);

  -- The item is used by others, or named by the application.
  update track.item_source
  set identity_id = 0
  where item_source.identity_id = any (_replace_descriptions.identities)
    and item_source.attribute = 'name';
  return v_cleared;
end;
$$;

comment on function track._replace_descriptions(bigint[], bigint[], boolean) is $$
Does the work of `track._erase_descriptions`; without parents, the items have none afterwards. Raises CF010 for a cycle.
$$;

create or replace function track._items_without_parent(identities bigint[])
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select distinct ancestor.ancestor_item_id
    from track.item_source as source
    join track.item on item.item_id = source.item_id
    join track.item_ancestor as ancestor on ancestor.item_id = coalesce(item.merged_item_id, item.item_id)
    where source.identity_id = any (_items_without_parent.identities)
      and source.attribute = 'parent'
      and ancestor.depth > 0
      and not exists (
        select 1
        from track.item_source as other
        where other.item_id = ancestor.ancestor_item_id
          and other.attribute = 'parent'
      )
    order by 1
  );
end;
$$;

comment on function track._items_without_parent(bigint[]) is $$
Returns the items that are above those whose parent identities told, and have no parent themselves.
A parent that others told of them may have been left out, because it would have formed a cycle with these.
$$;

create or replace function track._erase_descriptions(identities bigint[], items bigint[] default null)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_item_id bigint;
  v_cleared bigint := 0;
  v_above constant bigint[] := case
    when _erase_descriptions.items is null then track._items_without_parent(_erase_descriptions.identities)
    else '{}'
  end;
begin
  begin
    v_cleared := track._replace_descriptions(_erase_descriptions.identities, _erase_descriptions.items, true);
  exception
    -- The parent that others told first is meanwhile a part of the item. No erasure may fail for it.
    when sqlstate 'CF010' then
      for v_item_id in
        select distinct source.item_id
        from track.item_source as source
        where source.identity_id = any (_erase_descriptions.identities)
          and source.attribute <> 'name'
          and (_erase_descriptions.items is null or source.item_id = any (_erase_descriptions.items))
        order by source.item_id
      loop
        begin
          v_cleared := v_cleared
            + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
        exception
          when sqlstate 'CF010' then
            v_cleared := v_cleared
              + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], false);
        end;
      end loop;
  end;

  foreach v_item_id in array v_above loop
    begin
      insert into track.item_source (item_id, attribute, identity_id)
      select v_item_id, told.attribute, _erase_descriptions.identities[1]
      from track._told_by_others(v_item_id, '{parent}') as told;
      if found then
        v_cleared := v_cleared
          + track._replace_descriptions(_erase_descriptions.identities, array[v_item_id], true);
      end if;
    exception
      when sqlstate 'CF010' then
        null;
    end;
  end loop;
  return v_cleared;
end;
$$;

comment on function track._erase_descriptions(bigint[], bigint[]) is $$
Replaces the attributes that identities gave to items by what others told, or else removes them.
`items`: of these items only; null: of all, and parents that others told are entered where those of the identities stood
in their way (`track._items_without_parent`).
Returns the number of items. A parent that would form a cycle is left out. The derived data of courses follows with the
next refresh, as with each change of an item.
$$;
--! EndIncluded track/erasure/_erase_descriptions.sql

--! Included track/erasure/_erase_names.sql
/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. Items and types
 * that messages have named are deleted with the last person who used them. A batch that is being stored may name one of
 * them: therefore an erasure with such candidates waits for the running batches before it locks the people, and later
 * batches wait for it.
 */
create or replace function track._has_names_of_its_own(subject privacy.subject)
returns boolean
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_items constant bigint[] := array(
    select unnest(step.item_ids)::bigint
    from track.step
    where step.person_id = any (subject.identity_ids)
    union
    select event.item_id
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where stale.person_id = any (subject.identity_ids)
    union
    select named.item_id
    from track.item_source as named
    where named.identity_id = any (subject.identity_ids)
  );
  v_types constant int[] := array(
    select step.event_type_id
    from track.step
    where step.person_id = any (subject.identity_ids)
    union
    select event.event_type_id
    from track.stale
    join track.event
      on event.person_id = stale.person_id
      and event.occurred_at between stale.since and stale.until
    where stale.person_id = any (subject.identity_ids)
  );
  v_type int;
begin
  if exists (
    select 1
    from track.item_source
    where item_source.item_id = any (v_items)
      and item_source.attribute = 'name'
      and not exists (
        select 1
        from track.item_month
        where item_month.item_id = item_source.item_id
          -- Of at least two people, one is another one, but for what was sent without proof.
          and (
            cardinality(item_month.people) > cardinality(subject.identity_ids)
            or exists (
              select 1
              from unnest(item_month.people) as entry (person)
              where item_month.part * 32768::bigint + entry.person <> all (subject.identity_ids)
            )
          )
      )
  ) then
    return true;
  end if;
  -- As a rule, the first row that is read is that of another person.
  foreach v_type in array v_types loop
    perform
    from track.step
    where step.event_type_id = v_type
      and step.person_id <> all (subject.identity_ids)
    limit 1;
    if not found then
      return true;
    end if;
  end loop;
  return false;
end;
$$;

comment on function track._has_names_of_its_own(privacy.subject) is $$
Returns whether a person may have used an item or an event type that messages have named, and that nobody else uses.
$$;

create or replace function track._told_by_others(item_id bigint, attributes text[])
returns table (attribute text, said text, identity_id bigint)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_most int;
  v_stated track.imported_item;
  v_open text[] := attributes;
  v_root constant bigint := (
    select item.merged_item_id from track.item where item.item_id = _told_by_others.item_id
  );
begin
  -- The structure that imports state has precedence: of several, the last one.
  if exists (select from track.imported_item where imported_item.item_id = _told_by_others.item_id) then
    select stated.* into v_stated from track._imported_attributes(array[_told_by_others.item_id]) as stated;
    return query
    select given.attribute, given.said, 0::bigint
    from (
      values
        ('kind', v_stated.kind), ('title', v_stated.title), ('url', v_stated.url),
        (
          'parent',
          (
            select item.external_id
            from track.item
            where item.item_id = v_stated.parent_item_id
              and v_stated.parent_item_id <> v_stated.item_id
          )
        )
    ) as given (attribute, said)
    where given.attribute = any (_told_by_others.attributes)
      and given.said is not null;
    v_open := array(
      select entry.attribute
      from unnest(_told_by_others.attributes) as entry (attribute)
      where case entry.attribute
        when 'kind' then v_stated.kind is null
        when 'title' then v_stated.title is null
        when 'url' then v_stated.url is null
        when 'parent' then v_stated.parent_item_id is null
        else true
      end
    );
    if v_open = '{}' then
      return;
    end if;
  end if;
  -- As a rule, the first few people tell the same.
  foreach v_most in array array[20, 1000] loop
    return query
    select distinct on (told.attribute) told.attribute, told.said, event.identity_id
    from (
      select used.person_id, used.since, used.until
      from (
        select
          item_month.part * 32768::bigint + entry.person as person_id,
          item_month.month::timestamp at time zone 'UTC' as since,
          (item_month.month + interval '1 month')::timestamp at time zone 'UTC' as until
        from track.item_month
        cross join lateral unnest(item_month.people) as entry (person)
        where item_month.item_id in (_told_by_others.item_id, v_root)
        order by item_month.month, item_month.part, entry.person
        limit v_most
      ) as used
      union all
      (
        select stale.person_id, stale.since, stale.until
        from track.stale
        limit v_most
      )
    ) as period
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
      and event.item_id in (_told_by_others.item_id, v_root)
      and coalesce(event.named_item_id, event.item_id) = _told_by_others.item_id
    join track.source on source.source_id = event.source_id
    join track.event_type on event_type.event_type_id = event.event_type_id
    cross join lateral (
      values (
        case event_type.name when 'Page Viewed' then 'page' when 'Screen Viewed' then 'screen' else 'track' end,
        source.level = 'server'
      )
    ) as message (type, is_trusted)
    cross join lateral (
      values
        ('kind', track._item_kind(message.type, event.properties, event.properties ->> 'path', message.is_trusted)),
        (
          'title',
          case
            when message.is_trusted
              then coalesce(
                event.properties ->> 'itemTitle', case message.type when 'page' then event.properties ->> 'title' end
              )
          end
        ),
        ('url', case when message.is_trusted and message.type = 'page' then event.properties ->> 'url' end),
        (
          'parent',
          case
            when message.is_trusted
              then (
                select nullif(event.properties ->> 'parent', '')
                from track.item
                where item.item_id = _told_by_others.item_id
                  and item.external_id <> event.properties ->> 'parent'
              )
          end
        )
    ) as told (attribute, said)
    where told.attribute = any (v_open)
      and told.said is not null
    order by told.attribute, event.received_at, event.occurred_at, event.event_id;
    exit when found;
  end loop;
end;
$$;

comment on function track._told_by_others(bigint, text[]) is $$
Returns attributes of an item as imports or others tell them.
The structure that the last import states has precedence (identity 0); then the earliest stored events of others tell
them, with the identities of these events.
Reads the events of the first 20 people with the item, or when they tell nothing those of the first 1,000, and as many
people that are queued for the refresh.
$$;
--! EndIncluded track/erasure/_erase_names.sql

--! Included track/erasure/_settle.sql
create or replace function track._settle(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_near bigint[];
  v_queued bigint[];
  v_outcome record;
  v_consumer track.consumer;
begin
  -- Courses that are queued are left out by the refresh of a person.
  perform track._refresh_course_presence();

  -- The keys that the people have, and those that they had: the key of a person is that of one of her identities.
  v_near := array(
    select distinct entry.person_id
    from (
      select unnest(_settle.identity_ids) as identity_id
      union
      select unnest(array[link.identity_id, link.linked_identity_id])
      from track.identity_link as link
      where link.identity_id = any (_settle.identity_ids)
        or link.linked_identity_id = any (_settle.identity_ids)
    ) as linked
    join track.identity as one on one.identity_id = linked.identity_id
    join track.identity as other on other.person_id = one.person_id
    cross join lateral (values (other.identity_id), (other.person_id)) as entry (person_id)
    where entry.person_id <> 0
  );
  v_queued := array(select distinct stale.person_id from track.stale where stale.person_id = any (v_near));
  begin
    perform track._refresh_sessions_of(v_queued);
  exception
    -- As with track.refresh: the data of one person makes it fail. Her erasure removes it; others stay queued.
    when data_exception or integrity_constraint_violation or program_limit_exceeded then null;
  end;
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    with taken as (
      delete from track.changed
      where changed.person_id = any (v_near)
        and changed.consumer = v_consumer.consumer
      returning changed.person_id
    )
    select array_agg(distinct taken.person_id) into v_queued
    from taken;
    continue when v_queued is null;
    v_outcome := track._refresh_people(
      v_consumer.refresh, v_queued,
      array_fill('-infinity'::timestamptz, array[cardinality(v_queued)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_queued)])
    );
    insert into track.changed (person_id, consumer, since, until)
    select failed.person_id, v_consumer.consumer, '-infinity', 'infinity'
    from unnest(v_outcome.failed) as failed (person_id);
  end loop;
end;
$$;

comment on function track._settle(bigint[]) is $$
Refreshes what is queued for the people of identities, and for those they were linked to at some time.
Merges and splits move derived data with the next refresh: afterwards the derived data of a person is her own only.
The caller has locked the refresh, the people and the identities.
$$;
--! EndIncluded track/erasure/_settle.sql

--! Included track/erasure/erase.sql
create or replace function track.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identities constant bigint[] := subject.identity_ids;
  -- Messages without proof under the names of her browsers are people of their own, with the keys of their identities.
  v_people constant bigint[] := subject.identity_ids;
  -- A later link of a browser moves messages to the identity of another user, but not what they have told of items.
  v_tellers constant bigint[] := track._with_siblings(subject.identity_ids);
  v_items bigint[];
  v_types int[];
  v_used record;
  v_consumer track.consumer;
  v_rows bigint;
begin
  if subject.person_id is null then
    return;
  end if;
  v_items := array(
    select event.item_id from track.event where event.person_id = any (v_people)
    union
    select event.named_item_id from track.event where event.person_id = any (v_people)
    union
    select source.item_id from track.item_source as source where source.identity_id = any (v_tellers)
  );
  v_types := array(select distinct event.event_type_id from track.event where event.person_id = any (v_people));

  -- First what is derived from the events: the refresh of a person without events removes her from each rollup.
  return next privacy.erase_rows('track.event', 'person_id', v_people);
  return next privacy.erase_rows('track.stale_property', 'person_id', v_people);
  return query select counted.* from track._count_derived(v_people) as counted;
  insert into track.stale (person_id, since, until)
  select entry.person_id, '-infinity', 'infinity'
  from unnest(v_people) as entry (person_id);
  perform track._refresh_sessions_of(v_people);

  return query select erased.* from track._erase_statements(subject) as erased;
  return next privacy.erase_rows('track.trait', 'person_id', v_people);
  return next privacy.erase_rows('track.trait_history', 'person_id', v_people);
  return next privacy.erase_rows('track.enrolment', 'person_id', v_people);
  return next privacy.erase_rows('track.item_role', 'person_id', v_people);
  return next privacy.erase_rows('track.exclusion', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person_set_member', 'identity_id', v_identities);
  return next privacy.clear_values('track.exclusion', 'excluded_by', privacy.user_names(subject));
  return next privacy.clear_values('track.write_key_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.name_log', 'actor', privacy.user_names(subject));
  return next privacy.clear_values('track.forgotten_import', 'actor', privacy.user_names(subject));
  return next track._clear_examples(v_people);
  return next privacy.erase_rows('track.identity_link', 'identity_id', v_identities);
  return next privacy.erase_rows('track.identity_link', 'linked_identity_id', v_identities);
  return next privacy.erase_rows('track.identity', 'identity_id', v_identities);
  return next privacy.erase_rows('track.person', 'person_id', v_people);
  perform track._number_browsers(subject.names);
  perform track._give_back_traits(subject.names);

  -- Sets of people, cohorts and what else other rooms derive: each finds no data of the person any more.
  for v_consumer in
    select consumer.*
    from track.consumer
    order by consumer.position
  loop
    execute format(
      'select %I.%I($1, $2, $3)', split_part(v_consumer.refresh, '.', 1), split_part(v_consumer.refresh, '.', 2)
    )
    using
      v_people,
      array_fill('-infinity'::timestamptz, array[cardinality(v_people)]),
      array_fill('infinity'::timestamptz, array[cardinality(v_people)]);
  end loop;
  return next privacy.erase_rows('track.changed', 'person_id', v_people);

  v_rows := track._erase_descriptions(v_tellers);
  return next row('track.item', v_rows, 'cleared')::privacy.erased;
  -- Not while a batch is stored that may name one of them: see track._has_names_of_its_own.
  if pg_try_advisory_xact_lock(hashtext('track.ingest')) then
    v_used := track._other_use(v_items, v_types);
    v_rows := track._erase_items(array(select unnest(v_items) except select unnest(v_used.used_items)));
    return next row('track.item', v_rows, 'deleted')::privacy.erased;
    v_rows := track._erase_event_types(array(select unnest(v_types) except select unnest(v_used.used_types)));
    return next row('track.event_type', v_rows, 'deleted')::privacy.erased;
  end if;
end;
$$;

comment on function track.erase(privacy.subject) is $$
@behavior -*
Erases the people, identities and events of a person, and recomputes the rollups and sets without her.
Called by `privacy.erase_person`, after the rooms whose data is derived from it. The caller has locked the person.
$$;

create or replace function track._count_derived(people bigint[])
returns setof privacy.erased
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_activity constant track.activity[] := array(select track._whole_activity(_count_derived.people));
begin
  return query
  select 'track.session', count(*), 'deleted'
  from track.session
  where session.person_id = any (_count_derived.people);
  return query
  select 'track.step', count(*), 'deleted'
  from track.step
  where step.person_id = any (_count_derived.people);
  return query
  select 'track.step_value', count(*), 'deleted'
  from track.step_value
  where step_value.person_id = any (_count_derived.people);
  return query
  select 'track.presence', count(distinct (entry.event_type_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.event_count > 0
  union all
  select 'track.item_month', count(distinct (entry.item_id, date_trunc('month', entry.day::timestamp))), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select 'track.item_day', count(distinct (entry.item_id, entry.day)), 'recomputed'
  from unnest(v_activity) as entry
  where entry.item_id is not null
  union all
  select
    'track.item_transition', count(distinct (entry.month, entry.source_item_id, entry.target_item_id)), 'recomputed'
  from track._whole_transitions(track._counted_among(_count_derived.people)) as entry
  union all
  select 'track.person_set_block', count(*), 'recomputed'
  from track.person_set_block as stored
  join unnest(_count_derived.people) as entry (person_id)
    on entry.person_id / 4096 = stored.block
    and get_bit(stored.people, (entry.person_id % 4096)::int) <> 0;
end;
$$;

comment on function track._count_derived(bigint[]) is $$
Counts the derived rows of people, before a refresh deletes or recomputes them.
$$;

create or replace function track._clear_examples(people bigint[])
returns privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows bigint;
begin
  update track.rollup_check
  set example = 'erased'
  where exists (
    select
    from unnest(_clear_examples.people) as entry (person_id)
    where starts_with(rollup_check.example, format('person %s,', entry.person_id))
  );
  get diagnostics v_rows = row_count;
  return row('track.rollup_check', v_rows, 'cleared')::privacy.erased;
end;
$$;

comment on function track._clear_examples(bigint[]) is $$
Replaces the keys of people in the results of checks of the rollups.
$$;

create or replace function track._give_back_traits(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
begin
  with browser as materialized (
    select identity.external_id, identity.identity_id, identity.person_id
    from track.identity
    where identity.external_id = any (_give_back_traits.names)
      and identity.kind = 'anonymous'
  ),

  known as materialized (
    select browser.external_id, trait.name
    from browser
    join track.trait on trait.person_id = browser.person_id and trait.identity_id = browser.identity_id
  ),

  told as materialized (
    select
      browser.external_id, history.person_id, history.identity_id, history.name, history.set_at, history.value,
      history.repeated_at
    from browser
    join track.trait_history as history
      on history.person_id = browser.person_id and history.identity_id = browser.identity_id
  ),

  given_back as (
    insert into track.trait (person_id, identity_id, name, value, set_at)
    select distinct on (told.external_id, told.name)
      told.person_id, told.identity_id, told.name, point.value, point.set_at
    from told
    cross join lateral track._trait_points(told.set_at, told.value, told.repeated_at) as point
    where not exists (
      select 1
      from known
      where known.external_id = told.external_id
        and known.name = told.name
    )
    order by told.external_id, told.name, point.set_at desc, point.value desc, told.identity_id
    returning trait.person_id
  )

  select array_agg(distinct given_back.person_id) into v_people
  from given_back;
  perform track._enqueue('trait', v_people);
end;
$$;

comment on function track._give_back_traits(text[]) is $$
After the erasure of a user of browsers: traits of the other users that hers had replaced apply again.
$$;

create or replace function track._number_browsers(names text[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- The first identity of each name has the branch 0.
  update track.identity
  set branch = 0
  where identity.identity_id in (
    select min(sibling.identity_id)
    from track.identity as sibling
    where sibling.external_id = any (_number_browsers.names)
      and sibling.kind = 'anonymous'
    group by sibling.external_id
    having min(sibling.branch) > 0
  );
end;
$$;

comment on function track._number_browsers(text[]) is $$
Makes the oldest identity of each browser the first one, after others of the same browser were deleted.
$$;
--! EndIncluded track/erasure/erase.sql

--! Included track/retention/apply_event_retention.sql
/*
 * Whole months are removed as partitions. The people of the month are queued for the refresh, which recomputes what is
 * derived from their events: afterwards each table is what it would be without these events. The partition is locked
 * first, and then read while others store events of later months; the lock on the whole table is held for the removal
 * alone.
 */
create or replace function track._remove_month(
  name text,
  horizon timestamptz,
  by_arrival boolean,
  held bigint[]
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_step privacy.retention_step;
  v_stays boolean;
begin
  execute format('lock table track.%I in exclusive mode', _remove_month.name);
  execute format(
    'select true
    from track.%I as event
    where event.person_id = any ($1)
      or $2 and event.received_at >= $3
    limit 1',
    _remove_month.name
  )
  into v_stays
  using _remove_month.held, _remove_month.by_arrival, _remove_month.horizon;
  if v_stays then
    return null;
  end if;
  execute format(
    'with queued as (
      insert into track.stale (person_id, since, until)
      select event.person_id, min(event.occurred_at), max(event.occurred_at)
      from track.%1$I as event
      group by event.person_id
    )
    select count(*), min(event.%2$I)
    from track.%1$I as event',
    _remove_month.name, case when _remove_month.by_arrival then 'received_at' else 'occurred_at' end
  )
  into v_step.row_count, v_step.oldest_at;
  -- A batch that has found its months must not find them gone. Later batches create the month again, if they need it.
  perform pg_advisory_xact_lock(hashtext('track.ingest'));
  lock table track.event in access exclusive mode;
  execute format('drop table track.%I', _remove_month.name);
  v_step.partitions := array['track.' || _remove_month.name];
  return v_step;
exception
  -- Others use the table: the rows are deleted instead, which waits for no reader.
  when lock_not_available or deadlock_detected then
    return null;
end;
$$;

comment on function track._remove_month(text, timestamptz, boolean, bigint[]) is $$
Removes a partition of `track.event` and queues its people for the refresh.
Null when it holds events that stay, or when another transaction uses the table.
$$;

/*
 * Names of items and event types may be personal, such as the path of a page that only one person has. They stay with
 * an anonymized event when the application or another person uses them; person 0 counts as another one, so that events
 * that were anonymized before decide as the people did.
 */
create or replace function track._shared_names(
  items bigint[],
  event_types int[],
  out shared_items bigint[],
  out shared_types int[]
)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_type int;
  v_person_id bigint;
begin
  shared_items := array(
    select item.item_id
    from track.item
    where item.item_id = any (_shared_names.items)
      and not exists (
        select 1 from track.item_source where item_source.item_id = item.item_id and item_source.attribute = 'name'
      )
    union
    select imported_item.item_id
    from track.imported_item
    where imported_item.item_id = any (_shared_names.items)
    union
    select item_month.item_id
    from track.item_month
    where item_month.item_id = any (_shared_names.items)
    group by item_month.item_id
    having count(distinct (item_month.part, item_month.people[1])) > 1 or max(cardinality(item_month.people)) > 1
    union
    select used.item_id
    from track.step
    cross join lateral unnest(step.item_ids) as used (item_id)
    where step.person_id = 0
      and step.item_ids && _shared_names.items::int[]
  );
  shared_types := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.event_type_id = any (_shared_names.event_types)
      and (
        event_type.description is not null
        or event_type.purpose <> 'analytics'
        or event_type.opens_view
        or event_type.is_heartbeat
        or event_type.is_automatic
      )
  );
  foreach v_type in array array(select unnest(_shared_names.event_types) except select unnest(shared_types)) loop
    v_person_id := (select step.person_id from track.step where step.event_type_id = v_type limit 1);
    perform
    from track.step
    where step.event_type_id = v_type
      and step.person_id <> v_person_id
    limit 1;
    if found then
      shared_types := shared_types || v_type;
    end if;
  end loop;
end;
$$;

comment on function track._shared_names(bigint[], int[]) is $$
Returns which of the given items and event types are known to the application, or used by more than one person.
$$;

create or replace function track._delete_expired(
  name text,
  rule privacy.retention,
  horizon timestamptz,
  event_types int[],
  held bigint[],
  most_rows int
)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_time constant text := case rule.counted_from when 'event' then 'occurred_at' else 'received_at' end;
  v_shared record;
  v_step privacy.retention_step;
  v_picked text;
begin
  v_picked := format(
    'select event.*
    from track.%I as event
    where event.%I < $1
      and ($2 is null or event.event_type_id = any ($2))
      and event.person_id <> all ($3)
      and ($4 or event.person_id <> 0)
    order by event.person_id, event.occurred_at, event.event_id
    limit $5',
    _delete_expired.name, v_time
  );
  if rule.method = 'anonymize' then
    execute format(
      'select shared.*
      from (
        select
          array_agg(distinct picked.item_id) || array_agg(distinct picked.named_item_id) as items,
          array_agg(distinct picked.event_type_id) || array_agg(distinct picked.named_event_type_id) as event_types
        from (%s) as picked
      ) as used
      cross join lateral track._shared_names(used.items, used.event_types) as shared',
      v_picked
    )
    into v_shared
    using horizon, event_types, held, false, most_rows;
  else
    select '{}'::bigint[] as shared_items, '{}'::int[] as shared_types into v_shared;
  end if;

  execute format(
    'with picked as (%1$s),

    deleted as (
      delete from track.%2$I as event
      using picked
      where event.person_id = picked.person_id
        and event.occurred_at = picked.occurred_at
        and event.event_id = picked.event_id
      returning event.*
    ),

    placed as (
      insert into track.event (
        person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id,
        named_event_type_id, named_item_id
      )
      select
        0, deleted.occurred_at, deleted.event_id, 0,
        case when shared.type_id then deleted.event_type_id else other.event_type_id end,
        case when shared.item_id then deleted.item_id end,
        deleted.received_at, deleted.source_id,
        case when shared.type_id and deleted.named_event_type_id = any ($7) then deleted.named_event_type_id end,
        case when shared.item_id and deleted.named_item_id = any ($6) then deleted.named_item_id end
      from deleted
      cross join lateral (
        select
          coalesce(deleted.event_type_id = any ($7), false) as type_id,
          coalesce(deleted.item_id = any ($6), false) as item_id
      ) as shared
      cross join (select event_type_id from track.event_type where name = ''Other Event'') as other
      where not $4
      on conflict do nothing
    ),

    queued as (
      insert into track.stale (person_id, since, until)
      select deleted.person_id, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      group by deleted.person_id
      union all
      select 0, min(deleted.occurred_at), max(deleted.occurred_at)
      from deleted
      where not $4
      having count(*) > 0
    )

    select count(*), min(deleted.%3$I) from deleted',
    v_picked, _delete_expired.name, v_time
  )
  into v_step.row_count, v_step.oldest_at
  using
    horizon, event_types, held, rule.method = 'delete', most_rows, v_shared.shared_items, v_shared.shared_types;
  v_step.partitions := '{}';
  return v_step;
end;
$$;

comment on function track._delete_expired(text, privacy.retention, timestamptz, int[], bigint[], int) is $$
Deletes or anonymizes at most `most_rows` events of a partition, and queues their people for the refresh.
$$;

create or replace function track._follow_horizon(rule privacy.retention, horizon timestamptz)
returns privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_kept constant date := (select setting.sums_kept_before from track.setting);
  v_step privacy.retention_step;
begin
  -- Otherwise a message that arrives late would bring back a month that was deleted.
  update track.setting
  set oldest_event = _follow_horizon.horizon
  where setting.oldest_event < _follow_horizon.horizon;

  if rule.keeps_rollups and v_kept < (_follow_horizon.horizon at time zone 'UTC')::date then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    -- The sums are to contain all events that were stored. People whose refresh fails are not waited for.
    if exists (select 1 from track.stale where stale.since < _follow_horizon.horizon) then
      select 'refresh', coalesce(max(refreshed.people), 0)
      into v_step.method, v_step.row_count
      from track.refresh(2000, 'track.session') as refreshed;
      if v_step.row_count > 0 then
        return v_step;
      end if;
    end if;
    v_step.method := 'sum';
    v_step.row_count := track._keep_sums(_follow_horizon.horizon);
    return v_step;
  end if;

  -- Sums that an earlier rule has kept go, so that all rollups are again those of the events that are left.
  if not rule.keeps_rollups and v_kept > '-infinity' then
    perform pg_advisory_xact_lock(hashtext('track.refresh'));
    delete from track.presence where presence.day < v_kept;
    get diagnostics v_step.row_count = row_count;
    delete from track.item_day where item_day.day < v_kept;
    delete from track.item_transition where item_transition.month < v_kept;
    update track.setting set sums_kept_before = '-infinity';
    v_step.method := 'sum';
    return v_step;
  end if;
  return null;
end;
$$;

comment on function track._follow_horizon(privacy.retention, timestamptz) is $$
Prepares the deletion of all events before a time.
Later messages of that time are rejected, and the sums stay or go as the rule specifies. Returns a step; null when
nothing is left to prepare.
$$;

create or replace function track.apply_event_retention(
  rule privacy.retention,
  horizon timestamptz,
  most_rows int
)
returns setof privacy.retention_step
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_held constant bigint[] := array(select privacy.restricted());
  v_types constant int[] := case when rule.purpose is not null then track._types_of_purpose(rule.purpose) end;
  v_month record;
  v_step privacy.retention_step;
begin
  if rule.purpose is null and rule.method = 'delete' and rule.counted_from = 'event' then
    v_step := track._follow_horizon(rule, apply_event_retention.horizon);
  end if;
  if v_step.method is null then
    for v_month in
      select month.*
      from track._event_partitions() as month
      where month.since < apply_event_retention.horizon
    loop
      if rule.purpose is null and rule.method = 'delete' and v_month.until <= apply_event_retention.horizon then
        v_step := track._remove_month(
          v_month.name, apply_event_retention.horizon, rule.counted_from = 'arrival', v_held
        );
      end if;
      if v_step.partitions is null then
        v_step := track._delete_expired(
          v_month.name, rule, apply_event_retention.horizon, v_types, v_held, apply_event_retention.most_rows
        );
      end if;
      exit when v_step.row_count > 0 or v_step.partitions <> '{}';
      v_step := null;
    end loop;
    v_step.method := case when v_step.partitions is not null then rule.method end;
  end if;
  if v_step.method is not null then
    v_step.rule := rule.rule;
    v_step.table_name := case
      when v_step.method in ('delete', 'anonymize') then 'track.event'
      else 'track.presence'
    end;
    v_step.partitions := coalesce(v_step.partitions, '{}');
    v_step.horizon := apply_event_retention.horizon;
    return next v_step;
  end if;
end;
$$;

comment on function track.apply_event_retention(privacy.retention, timestamptz, int) is $$
@behavior -*
Does one step of a rule of retention for events: a month as a partition, or at most `most_rows` events of a month.
Called by `privacy.apply_retention`. The people are queued for the refresh in the same transaction.
$$;
--! EndIncluded track/retention/apply_event_retention.sql

--! Included experiment/exposure/_stored_exposures.sql
create or replace function experiment._stored_exposures(people bigint[])
returns setof experiment.exposure
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return query
  select exposure.*
  from experiment.exposure
  where exposure.person_id = any (_stored_exposures.people);
end;
$$;

comment on function experiment._stored_exposures(bigint[]) is $$
Returns the exposures of people. On a worker of a cluster, a row has another type: therefore by its columns.
$$;
--! EndIncluded experiment/exposure/_stored_exposures.sql

--! Included experiment/exposure/_store_event_values.sql
create or replace function experiment._store_event_values(people bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_new experiment.event_value[];
  v_people bigint[];
  v_experiments int[];
  v_positions int[];
begin
  if not exists (
    select
    from experiment.measured
    join experiment.metric using (metric_id)
    where metric.type = 'quantile'
  ) then
    return;
  end if;
  v_new := array(
    select computed
    from experiment._event_values(
      array(select stored from experiment._stored_exposures(_store_event_values.people) as stored)
    ) as computed
  );

  select array_agg(new.person_id), array_agg(new.experiment_id), array_agg(new.position)
  into v_people, v_experiments, v_positions
  from unnest(v_new) as new;
  with new as materialized (
    select listed.person_id, listed.experiment_id, listed.position
    from unnest(v_people, v_experiments, v_positions) as listed (person_id, experiment_id, position)
  )

  delete from experiment.event_value
  where event_value.person_id = any (_store_event_values.people)
    and not exists (
      select 1
      from new
      where new.person_id = event_value.person_id
        and new.experiment_id = event_value.experiment_id
        and new.position = event_value.position
    );
  insert into experiment.event_value (person_id, experiment_id, position, event_values)
  select new.person_id, new.experiment_id, new.position, new.event_values
  from unnest(v_new) as new
  on conflict (person_id, experiment_id, position) do update
  set event_values = excluded.event_values
  where event_value.event_values is distinct from excluded.event_values;
end;
$$;

comment on function experiment._store_event_values(bigint[]) is $$
Recomputes `experiment.event_value` for people, whose exposures are stored.
$$;
--! EndIncluded experiment/exposure/_store_event_values.sql

--! Included experiment/results/_quantile_statistics.sql
create or replace function experiment._quantile_statistics(
  experiment_id int,
  "position" smallint,
  level float8,
  until date default null,
  among track.person_set_block[] default null
)
returns table (variation smallint, people bigint, statistic jsonb)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_are_all constant boolean := _quantile_statistics.among is null;
begin
  return query
  with member as materialized (
    select listed.block, listed.people
    from unnest(_quantile_statistics.among) as listed
  ),

  person as materialized (
    select exposure.variation, event_value.event_values
    from experiment.event_value
    join experiment.exposure using (person_id, experiment_id)
    left join member on member.block = exposure.person_id / 4096
    where event_value.experiment_id = _quantile_statistics.experiment_id
      and event_value.position = _quantile_statistics.position
      and exposure.is_counted
      and exposure.variation is not null
      and (_quantile_statistics.until is null or exposure.exposed_on <= _quantile_statistics.until)
      and (
        v_are_all
        or get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
      )
  ),

  size as (
    select person.variation, sum(cardinality(person.event_values)) as events, count(*) as people
    from person
    group by person.variation
  ),

  ranked as (
    select
      person.variation, entry.value,
      row_number() over (partition by person.variation order by entry.value) as rank
    from person
    cross join lateral unnest(person.event_values) as entry (value)
  ),

  -- The order statistics at the level, and at the bounds of its interval for independent events. As numeric, because
  -- 0.55 of 20 events would be more than 11 in floating point.
  bound as (
    select
      size.variation, size.events, size.people,
      least(greatest(ceil(size.events * level::numeric), 1), size.events) as at_level,
      least(greatest(ceil(size.events * (level - width.half)), 1), size.events) as at_lower,
      least(greatest(ceil(size.events * (level + width.half)), 1), size.events) as at_upper
    from size
    cross join lateral (
      select 1.959963984540054 * sqrt(level * (1 - level) / size.events::float8) as half
    ) as width
  ),

  found as (
    select
      bound.variation, bound.events, bound.people,
      max(ranked.value) filter (where ranked.rank = bound.at_level) as hat,
      max(ranked.value) filter (where ranked.rank = bound.at_lower) as lower,
      max(ranked.value) filter (where ranked.rank = bound.at_upper) as upper
    from bound
    join ranked
      on ranked.variation = bound.variation
      and ranked.rank in (bound.at_level, bound.at_lower, bound.at_upper)
    group by bound.variation, bound.events, bound.people
  ),

  clustered as (
    select
      found.variation,
      sum(cluster.main) as main, sum(cluster.main * cluster.main) as main_squares,
      sum(cluster.size * cluster.size) as size_squares, sum(cluster.main * cluster.size) as products
    from found
    join person on person.variation = found.variation
    cross join lateral (
      select
        width_bucket(found.hat, person.event_values)::numeric as main,
        cardinality(person.event_values)::numeric as size
    ) as cluster
    group by found.variation
  )

  select
    found.variation, found.people,
    jsonb_build_object(
      'type', 'quantile', 'n', found.events, 'n_star', found.events, 'nu', level,
      'quantile_hat', found.hat, 'quantile_lower', found.lower, 'quantile_upper', found.upper,
      'n_clusters', found.people, 'main_sum', clustered.main, 'main_sum_squares', clustered.main_squares,
      'denominator_sum', found.events, 'denominator_sum_squares', clustered.size_squares,
      'main_denominator_sum_product', clustered.products
    )
  from found
  join clustered using (variation);
end;
$$;

comment on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[]) is $$
@behavior -*
Returns the quantile of the values of all events of counted people by variation, with people as clusters.
Reads the values of all exposed people: a quantile is not a function of sums.
$$;

grant execute on function experiment._quantile_statistics(int, smallint, float8, date, track.person_set_block[])
to insights_reader;
--! EndIncluded experiment/results/_quantile_statistics.sql

--! Included experiment/exposure/_store_exposures.sql
create or replace function experiment._store_exposures(former experiment.exposure[], present experiment.exposure[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
-- A plan for the values of the arrays would copy them several times, and not be another one.
set plan_cache_mode to force_generic_plan
set enable_seqscan to off
set jit to off
as $$
declare
  v_people bigint[];
  v_experiments int[];
begin
  -- A check of conflicts would look up each key once more.
  if _store_exposures.former = '{}' then
    insert into experiment.exposure
    select new.*
    from unnest(_store_exposures.present) as new;
    return;
  end if;

  select array_agg(gone.person_id), array_agg(gone.experiment_id) into v_people, v_experiments
  from (
    select old.person_id, old.experiment_id from unnest(_store_exposures.former) as old
    except
    select new.person_id, new.experiment_id from unnest(_store_exposures.present) as new
  ) as gone;
  delete from experiment.exposure
  using unnest(v_people, v_experiments) as gone (person_id, experiment_id)
  where exposure.person_id = gone.person_id
    and exposure.experiment_id = gone.experiment_id;
  insert into experiment.exposure (
    person_id, experiment_id, variation, exposed_at, exposed_on, is_counted, stratum, probability, outcomes,
    outcomes_before
  )
  select
    new.person_id, new.experiment_id, new.variation, new.exposed_at, new.exposed_on, new.is_counted, new.stratum,
    new.probability, new.outcomes, new.outcomes_before
  from unnest(_store_exposures.present) as new
  on conflict (person_id, experiment_id) do update
  set
    variation = excluded.variation,
    exposed_at = excluded.exposed_at,
    exposed_on = excluded.exposed_on,
    is_counted = excluded.is_counted,
    stratum = excluded.stratum,
    probability = excluded.probability,
    outcomes = excluded.outcomes,
    outcomes_before = excluded.outcomes_before;
end;
$$;

comment on function experiment._store_exposures(experiment.exposure[], experiment.exposure[]) is $$
Stores the `present` rows of `experiment.exposure` in place of the `former` ones. No other row has one of their keys.
$$;
--! EndIncluded experiment/exposure/_store_exposures.sql

--! Included experiment/exposure/refresh_exposures.sql
/*
 * An exposure follows from all events of the person, and they may arrive in any order: the rows of a person are
 * computed from scratch whenever a change touches them. The sums change by the difference between the old and the new
 * rows.
 */
create or replace function experiment.refresh_exposures(people bigint[], since timestamptz[], until timestamptz[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
-- The exposures of a batch of people are passed as an array, and read by several statements.
set work_mem to '64MB'
set enable_mergejoin to off
as $$
declare
  v_people bigint[];
  v_refused bigint[];
  v_old experiment.exposure[];
  v_new experiment.exposure[];
begin
  if not exists (select from experiment.experiment where experiment.started_at is not null) then
    return;
  end if;
  -- Deletions by retention come as changes of people, so that results are kept before they reach the sums.
  perform experiment._keep_ended(true);
  v_people := experiment._touched_people(
    refresh_exposures.people, refresh_exposures.since, refresh_exposures.until
  );
  if v_people = '{}' then
    return;
  end if;

  v_old := array(select stored from experiment._stored_exposures(v_people) as stored);
  v_refused := experiment._refused_people(v_people);
  v_new := experiment._exposures_of(
    case
      when v_refused = '{}' then v_people
      else array(select unnest(v_people) except select unnest(v_refused))
    end
  );

  -- Rows that differ: those of before, and those of now.
  if v_old <> '{}' then
    select
      coalesce(array_agg(old) filter (where old.person_id is not null), '{}'),
      coalesce(array_agg(new) filter (where new.person_id is not null), '{}')
    into v_old, v_new
    from unnest(v_old) as old
    full join unnest(v_new) as new
      on new.person_id = old.person_id
      and new.experiment_id = old.experiment_id
    where old is distinct from new;
  end if;

  perform experiment._store_exposures(v_old, v_new);
  perform experiment._change_day_sums(
    v_old || v_new,
    array_fill(-1, array[cardinality(v_old)]) || array_fill(1, array[cardinality(v_new)])
  );
  perform experiment._store_event_values(v_people);
  perform experiment._retake_results(
    array(select distinct old.experiment_id from unnest(v_old) as old where old.person_id = any (v_refused))
  );

  perform experiment._refresh_arms(v_old, v_new);
end;
$$;

comment on function experiment.refresh_exposures(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Recomputes `experiment.exposure` for the given people and periods, and the sums that follow. Called by `track.refresh`.
Their events, identities, decisions, traits or sets have changed. The rows and sums are those of a computation from
scratch, also after late events, merges of people and deletions. People who have opted out of `analytics`, or whose data
is restricted, have no rows.
$$;
--! EndIncluded experiment/exposure/refresh_exposures.sql

--! Included experiment/results/_arm_sums.sql
create or replace function experiment._arm_sums(experiment_id int, among track.person_set_block[] default null)
returns setof experiment.day_sum
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_exposures experiment.exposure[];
begin
  if _arm_sums.among is null then
    return query
    select
      kept_sum.experiment_id, kept_sum.position, kept_sum.variation, kept_sum.exposed_on, kept_sum.stratum,
      kept_sum.people, kept_sum.sums
    from experiment.kept_sum
    where kept_sum.experiment_id = _arm_sums.experiment_id;
    if exists (select from experiment.kept where kept.experiment_id = _arm_sums.experiment_id) then
      return;
    end if;
    return query
    select day_sum.*
    from experiment.day_sum
    where day_sum.experiment_id = _arm_sums.experiment_id;
    return;
  end if;

  perform experiment._check_people(_arm_sums.experiment_id);
  -- An array has a limit of 1 GB, so that people are added some at a time.
  for v_exposures in
    with member as materialized (
      select listed.block, listed.people
      from unnest(_arm_sums.among) as listed
    )

    select array_agg(part.exposure)
    from (
      select exposure, row_number() over () / 20000 as part
      from experiment.exposure
      join member
        on member.block = exposure.person_id / 4096
        and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
      where exposure.experiment_id = _arm_sums.experiment_id
    ) as part (exposure, part)
    group by part.part
  loop
    return query
    select added.*
    from experiment._day_sums(v_exposures, array_fill(1, array[cardinality(v_exposures)])) as added;
  end loop;
end;
$$;

comment on function experiment._arm_sums(int, track.person_set_block[]) is $$
@behavior -*
Returns the sums of an experiment, in any number of rows per day.
Those that are kept of an ended experiment, or of `experiment.day_sum`; for some people (`among`) those of their
exposures.
$$;

grant execute on function experiment._arm_sums(int, track.person_set_block[]) to insights_reader;
--! EndIncluded experiment/results/_arm_sums.sql

--! Included experiment/results/_assigned.sql
create or replace function experiment._assigned(
  experiment experiment.experiment,
  among track.person_set_block[] default null,
  kept experiment.day_sum[] default null,
  least_expected float8 default 10,
  least_users float8 default 0
)
returns experiment.drawn[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_is_part constant boolean := _assigned.among is not null;
  v_id constant int := (experiment).experiment_id;
  v_started_at constant timestamptz := (experiment).started_at;
  v_count constant int := (select count(*) from experiment.variation where variation.experiment_id = v_id);
  v_since timestamptz[];
  v_weights float8[];
  v_numbers bigint[];
  v_users float8[];
begin
  -- The weights of the start are those of the whole first day.
  select
    array_agg(weighting.since order by weighting.since),
    array_agg(weighting.weights order by weighting.since)
  into v_since, v_weights
  from (
    select
      case when row_number() over (order by known.since) = 1 then '-infinity' else known.since end as since,
      known.weights
    from experiment.weighting as known
    where known.experiment_id = v_id
      and known.since >= coalesce(
        (
          select max(former.since)
          from experiment.weighting as former
          where former.experiment_id = v_id
            and former.since <= v_started_at
        ),
        '-infinity'
      )
  ) as weighting;
  if array_length(v_weights, 1) is null then
    return null;
  end if;

  -- The sums that are kept are of days on which the weights did not change.
  v_numbers := array(
    with member as materialized (
      select listed.block, listed.people
      from unnest(_assigned.among) as listed
    )

    select coalesce(number.people, 0)
    from generate_series(1, cardinality(v_since)) as part (period)
    cross join generate_series(0, v_count - 1) as arm (place)
    left join (
      select entry.period, entry.variation, sum(entry.people) as people
      from (
        select width_bucket(period_sum.since, v_since) as period, period_sum.variation, period_sum.people
        from experiment.period_sum
        where period_sum.experiment_id = v_id
          and _assigned.among is null
          and _assigned.kept is null

        union all

        select
          width_bucket(stored.exposed_on::timestamp at time zone 'UTC', v_since), stored.variation, stored.people
        from unnest(_assigned.kept) as stored
        where stored.position = -1
          and stored.variation >= 0

        union all

        select width_bucket(exposure.exposed_at, v_since), exposure.variation, 1
        from experiment.exposure
        join member
          on member.block = exposure.person_id / 4096
          and get_bit(member.people, (exposure.person_id % 4096)::int) <> 0
        where v_is_part
          and exposure.experiment_id = v_id
          and exposure.is_counted
          and exposure.variation is not null
      ) as entry
      group by entry.period, entry.variation
    ) as number on number.period = part.period and number.variation = arm.place
    order by part.period, arm.place
  );
  v_users := (
    select array_agg(v_numbers[(period - 1) * v_count + 1 : period * v_count]::float8[] order by period)
    from generate_subscripts(v_since, 1) as period
  );
  return experiment._drawn(v_users, v_weights, least_expected, least_users);
end;
$$;

comment on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
) is $$
@behavior -*
Returns how many people each variation has, and what the weights at the time of their exposure make expect.
By part of the time (`experiment._drawn`). Of all people, by `experiment.period_sum`; of those of `among`, by their
exposures; or of the sums of days that are `kept` of an ended experiment.
$$;

grant execute on function experiment._assigned(
  experiment.experiment, track.person_set_block[], experiment.day_sum[], float8, float8
)
to insights_reader;
--! EndIncluded experiment/results/_assigned.sql

--! Included experiment/access/erase.sql
create or replace function experiment.erase(subject privacy.subject)
returns setof privacy.erased
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  -- The key of a person is that of one of her identities, and some of her identities are people of their own.
  v_people constant bigint[] := subject.identity_ids;
  v_exposures experiment.exposure[];
  v_sums bigint;
begin
  v_exposures := array(select stored from experiment._stored_exposures(v_people) as stored);
  v_sums := (
    select count(*)
    from experiment._day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]))
  );
  perform experiment._change_day_sums(v_exposures, array_fill(-1, array[cardinality(v_exposures)]));
  return next privacy.erase_rows('experiment.event_value', 'person_id', v_people);
  return next privacy.erase_rows('experiment.exposure', 'person_id', v_people);
  return next row('experiment.day_sum', v_sums, 'recomputed')::privacy.erased;
  perform experiment._retake_results(array(select exposed.experiment_id from unnest(v_exposures) as exposed));
  -- The refresh after the erasure finds no exposure any more.
  perform experiment._refresh_arms(v_exposures, '{}');
  return next privacy.clear_values('experiment.change', 'actor', privacy.user_names(subject));
end;
$$;

comment on function experiment.erase(privacy.subject) is $$
@behavior -*
Erases the exposures and outcomes of a person, and takes them out of the sums of the experiments.
Called by `privacy.erase_person`. Results that are kept are recomputed, unless events of their time were deleted. The
weights of a bandit that had learned from her stay as they are until the next update, which is computed from the sums
without her.
$$;
--! EndIncluded experiment/access/erase.sql

--! Included experiment/access/export.sql
create or replace function experiment.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with exposure as materialized (
      select own.*
      from experiment.exposure as own
      where own.person_id = (export.subject).person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'experiment', experiment.experiment_key,
        'name', experiment.name,
        'variation', variation.variation_key,
        'exposed_at', exposure.exposed_at,
        'is_counted', exposure.is_counted,
        'stratum', exposure.stratum,
        'probability', exposure.probability,
        'outcomes', experiment._named_outcomes(exposure.experiment_id, exposure.outcomes),
        'outcomes_before', experiment._named_outcomes(exposure.experiment_id, exposure.outcomes_before)
      )
      order by exposure.exposed_at, experiment.experiment_key
    )
    from exposure
    join experiment.experiment using (experiment_id)
    left join experiment.variation
      on variation.experiment_id = exposure.experiment_id
      and variation.variation = exposure.variation
  );
  return next privacy.exported_rows('experiment.exposure', v_rows);
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'experiment', experiment.experiment_key,
        'metric', metric.metric_key,
        'event_values', event_value.event_values
      )
      order by experiment.experiment_key, event_value.position
    )
    from experiment.event_value
    join experiment.experiment using (experiment_id)
    left join experiment.measured
      on measured.experiment_id = event_value.experiment_id
      and measured.position = event_value.position
    left join experiment.metric using (metric_id)
    where event_value.person_id = (export.subject).person_id
  );
  return next privacy.exported_rows('experiment.event_value', v_rows);
  return next privacy.exported_rows(
    'experiment.change',
    (
      select jsonb_agg(
        jsonb_build_object(
          'changed_at', change.changed_at, 'subject', change.subject, 'key', change.key, 'action', change.action,
          'actor', change.actor
        )
        order by change.changed_at, change.change_id
      )
      from experiment.change
      where change.actor = any (privacy.user_names(export.subject))
    ),
    'Changes of experiments that the person made.'
  );
end;
$$;

comment on function experiment.export(privacy.subject) is $$
@behavior -*
Returns the experiments in which a person takes part, with her outcomes, and the changes that she made.
For `privacy.export_person`.
$$;
--! EndIncluded experiment/access/export.sql

--! Included analytics/functions/_person_buckets.sql
create or replace function analytics._person_buckets(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (person_id bigint, bucket int, event_count bigint)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
set work_mem to '64MB'
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_first_day constant date := (v_since at time zone 'UTC')::date;
  v_end_day constant date := (v_until at time zone 'UTC')::date + 1;
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _person_buckets.item_id
  );
  v_people bigint[];
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day);
  -- Without other events and items there is less to plan, which takes as long as the journeys of some thousand people.
  if v_queued.people is null and _person_buckets.item_id is null then
    return query
    select happened.person_id, happened.bucket, count(*)
    from (
      select
        slice.person_id,
        width_bucket(unnest(slice.occurred_at[slice.before + 1:slice.until]), _person_buckets.bounds) as bucket
      from (
        select
          step.person_id, step.occurred_at,
          width_bucket(v_since - interval '1 microsecond', step.occurred_at) as before,
          width_bucket(v_until - interval '1 microsecond', step.occurred_at) as until
        from track.step
        where (
            step.event_type_id = _person_buckets.event_type_id
            or _person_buckets.event_type_id = 0 and not step.is_automatic
          )
          and step.since > v_first_day - 366
          and step.since < v_end_day
      ) as slice
      left join track.person_set_blocks('excluded') as excluded on excluded.block = slice.person_id / 4096
      where slice.before < slice.until
        and coalesce(get_bit(excluded.people, (slice.person_id % 4096)::int), 0) = 0
    ) as happened
    group by 1, 2;
    return;
  end if;

  if _person_buckets.item_id is not null then
    -- The journeys of the people of the item only.
    v_people := array(
      select distinct item_month.part::bigint * 32768 + listed.person
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
    );
  end if;

  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', v_since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', v_until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  journey as (
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where step.event_type_id = _person_buckets.event_type_id
      and v_people is null
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any event that is not automatic.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from track.step
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id = 0
      and v_people is null
      and not step.is_automatic
      and step.since > v_first_day - 366
      and step.since < v_end_day

    union all

    -- Any use of an item.
    select step.person_id, step.occurred_at, step.item_ids, queued.since, queued.until
    from unnest(v_people) as person (person_id)
    join track.step on step.person_id = person.person_id
    left join queued on queued.person_id = step.person_id
    where _person_buckets.event_type_id in (0, step.event_type_id)
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  -- The events of the period, in two parts where those between them are queued.
  kept as (
    select
      journey.person_id,
      case
        when journey.since is null then journey.occurred_at[place.since + 1:place.until]
        else journey.occurred_at[place.since + 1:place.queued_since]
          || journey.occurred_at[place.queued_until + 1:place.until]
      end as occurred_at,
      case
        when v_people is null then null
        when journey.since is null then journey.item_ids[place.since + 1:place.until]
        else journey.item_ids[place.since + 1:place.queued_since]
          || journey.item_ids[place.queued_until + 1:place.until]
      end as item_ids
    from journey
    cross join lateral (
      select
        width_bucket(journey.since - interval '1 microsecond', journey.occurred_at) as queued_since,
        width_bucket(journey.until - interval '1 microsecond', journey.occurred_at) as queued_until,
        width_bucket(v_since - interval '1 microsecond', journey.occurred_at) as since,
        width_bucket(v_until - interval '1 microsecond', journey.occurred_at) as until
    ) as place
    left join track.person_set_blocks('excluded') as excluded on excluded.block = journey.person_id / 4096
    where place.since < place.until
      and coalesce(get_bit(excluded.people, (journey.person_id % 4096)::int), 0) = 0
  ),

  happened as (
    select
      kept.person_id, width_bucket(unnest(kept.occurred_at), _person_buckets.bounds) as bucket, 1 as event_count
    from kept
    where v_people is null

    union all

    select kept.person_id, width_bucket(used.occurred_at, _person_buckets.bounds), 1
    from kept
    cross join lateral unnest(kept.occurred_at, kept.item_ids) as used (occurred_at, item_id)
    where used.item_id = any (v_items)

    union all

    select event.person_id, width_bucket(event.occurred_at, _person_buckets.bounds), 1
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    left join track.person_set_blocks('excluded') as excluded on excluded.block = event.person_id / 4096
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and case
        when _person_buckets.event_type_id <> 0 then event.event_type_id = _person_buckets.event_type_id
        else _person_buckets.item_id is not null or not (event_type.is_automatic or source.is_automatic)
      end
      and (_person_buckets.item_id is null or event.item_id = any (v_items) and event.person_id <> 0)
      and coalesce(get_bit(excluded.people, (event.person_id % 4096)::int), 0) = 0

    union all

    -- Page views of the item, also those that continue in a later session, without an event.
    select page_view.person_id, width_bucket(page_view.started_at, _person_buckets.bounds), 0
    from track.session
    join track.page_view
      on page_view.person_id = session.person_id
      and page_view.session_id = session.session_id
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
    left join track.person_set_blocks('excluded') as excluded on excluded.block = session.person_id / 4096
    where _person_buckets.event_type_id = 0
      and session.person_id = any (v_people)
      and session.ended_at >= v_since
      and session.started_at < v_until
      and session.view_continued is not null
      and page_view.item_id = any (v_items)
      and coalesce(get_bit(excluded.people, (session.person_id % 4096)::int), 0) = 0
  )

  select happened.person_id, happened.bucket, sum(happened.event_count)
  from happened
  group by 1, 2;
end;
$$;

comment on function analytics._person_buckets(int, timestamptz[], bigint) is $$
Returns the number of events per person and bucket, of people who are not excluded, with the privileges of the caller.
`bounds`: n + 1 ascending times, for the buckets 1 to n; the first one may be `-infinity`. `event_type_id` 0: any event
that is not automatic. `item_id`: events of the item and of what it contains; with `event_type_id` 0 any use, as in
`analytics.popular_items`: automatic events too, and a person who only continued to read a page has 0 events.
Read from the journeys, with the events of people who are queued for a refresh. Person 0 (anonymised events) is included
unless an item is given.
$$;

grant execute on function analytics._person_buckets(int, timestamptz[], bigint) to insights_reader;
--! EndIncluded analytics/functions/_person_buckets.sql

--! Included analytics/functions/_presence.sql
create or replace function analytics._presence(
  event_type_id int, bounds timestamptz[], item_id bigint default null
)
returns table (bucket int, block int, people bit(4096))
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_by_day constant boolean := not exists (
    select from unnest(bounds) as bound where isfinite(bound) and bound <> date_trunc('day', bound)
  );
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _presence.item_id
  );
  -- Null: all.
  v_event_types constant int[] := case when _presence.event_type_id <> 0 then array[_presence.event_type_id] end;
  v_queued record;
  v_is_queued boolean;
begin
  if not v_by_day or _presence.item_id is not null and _presence.event_type_id <> 0 then
    return query
    select
      person_bucket.bucket, (person_bucket.person_id / 4096)::int,
      bit_or(track.person_bit(person_bucket.person_id))
    from analytics._person_buckets(_presence.event_type_id, _presence.bounds, _presence.item_id) as person_bucket
    where person_bucket.person_id <> 0
    group by 1, 2;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  v_is_queued := v_queued.people is not null;
  if _presence.item_id is not null then
    return query
    with excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    used as (
      select
        width_bucket((item_month.month + place)::timestamptz, _presence.bounds) as bucket,
        item_month.part::bigint * 32768 + listed.person as person_id
      from track.item_month
      cross join lateral unnest(item_month.people, item_month.days) as listed (person, days)
      join generate_series(0, 30) as place on listed.days & (1 << place) <> 0
      left join unnest(v_queued.people, v_queued.first_days, v_queued.end_days)
        as queued (person_id, first_day, end_day)
        on queued.person_id = item_month.part::bigint * 32768 + listed.person
        and item_month.month + place >= queued.first_day
        and item_month.month + place < queued.end_day
      where item_month.item_id = any (v_items)
        and item_month.month > v_first_day - 31
        and item_month.month < v_end_day
        and queued.person_id is null

      union all

      select width_bucket(activity.day::timestamptz, _presence.bounds), activity.person_id
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      where activity.item_id = any (v_items)
        and activity.person_id <> 0
    ),

    by_block as (
      select
        distinct_use.bucket, (distinct_use.person_id / 4096)::int as block,
        bit_or(track.person_bit(distinct_use.person_id)) as people
      from (
        select used.bucket, used.person_id
        from used
        where used.bucket between 1 and cardinality(_presence.bounds) - 1
        group by 1, 2
      ) as distinct_use
      group by 1, 2
    )

    select by_block.bucket, by_block.block, by_block.people & ~coalesce(excluded.people, v_no_people)
    from by_block
    left join excluded on excluded.block = by_block.block
    where bit_count(by_block.people & ~coalesce(excluded.people, v_no_people)) > 0;
    return;
  end if;

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  change as materialized (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where not queued.was), v_no_people) as added
    from (
      select activity.person_id, activity.day, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as activity
      where v_is_queued
        and (_presence.event_type_id <> 0 or activity.event_count > activity.automatic_count)
      union all
      select activity.person_id, activity.day, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as activity
      where v_is_queued
        and (_presence.event_type_id <> 0 or activity.event_count > activity.automatic_count)
    ) as queued
    where queued.person_id <> 0
    group by 1, 2
  ),

  by_block as (
    select
      width_bucket(presence.day::timestamptz, _presence.bounds) as bucket,
      presence.block,
      bit_or(
        case when change.cleared is null then presence.people else presence.people & ~change.cleared end
      ) as people
    from track.presence
    left join change on v_is_queued and change.day = presence.day and change.block = presence.block
    where presence.event_type_id = _presence.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
    group by 1, 2

    union all

    select width_bucket(change.day::timestamptz, _presence.bounds), change.block, bit_or(change.added)
    from change
    where change.day >= v_first_day
      and change.day < v_end_day
    group by 1, 2
  )

  select present.bucket, present.block, present.people
  from (
    select
      by_block.bucket, by_block.block, bit_or(by_block.people) & ~coalesce(excluded.people, v_no_people) as people
    from by_block
    left join excluded on excluded.block = by_block.block
    group by by_block.bucket, by_block.block, excluded.people
  ) as present
  where bit_count(present.people) > 0;
end;
$$;

comment on function analytics._presence(int, timestamptz[], bigint) is $$
Returns the people with an event in each bucket, one bit per person, with the privileges of the caller.
Of people who are not excluded; a bucket and block without people has no row. The arguments are those of
`analytics._person_buckets`. Buckets of whole days (UTC) are read from `track.presence`, and the use of an item from
`track.item_month`; all others from the journeys. The changes of people who are queued for a refresh are included.
$$;

grant execute on function analytics._presence(int, timestamptz[], bigint) to insights_reader;
--! EndIncluded analytics/functions/_presence.sql

--! Included analytics/functions/popular_items.sql
create or replace function analytics._popular_items_of(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  people bigint[],
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_first_day constant date := greatest(_popular_items_of.since::date, '0001-01-01');
  -- Whole days, so that two periods differ by a day at least.
  v_end_day constant date := least(
    case
      when _popular_items_of.until < '294276-12-31'
        then date_trunc('day', _popular_items_of.until - interval '1 microsecond') + interval '1 day'
      else 'infinity'
    end::date,
    '9999-12-31'
  );
begin
  return query
  with used as (
    select
      kernel.*,
      case _popular_items_of.measure
        when 'events' then kernel.event_count
        when 'engaged' then extract(epoch from kernel.engaged)
        else kernel.person_count
      end::float8 as measured,
      -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
      round(
        case _popular_items_of.measure
          when 'events' then kernel.decayed_event_count
          when 'engaged' then kernel.decayed_engaged
          else kernel.decayed_person_count
        end::numeric,
        9
      )::float8 as score
    from analytics._item_use(
      _popular_items_of.kind, v_first_day, v_end_day, _popular_items_of.half_life, least(v_end_day, now()::date),
      _popular_items_of.smallest_group, _popular_items_of.people
    ) as kernel
    where kernel.person_count >= _popular_items_of.smallest_group
  ),

  shown as (
    select
      item.external_id as item,
      item.title,
      item.kind as item_kind,
      analytics._shown(used.event_count, used.person_count, _popular_items_of.smallest_group)::bigint as event_count,
      analytics._shown(used.person_count, used.person_count, _popular_items_of.smallest_group)::bigint
        as person_count,
      case
        when _popular_items_of.smallest_group = 1 then used.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from used.engaged)::float8, used.person_count, _popular_items_of.smallest_group
        ))
      end as engaged,
      -- With a half-life, rounded like the figure without one: recent days weigh most, and may be those of one person.
      analytics._shown(
        used.score, used.person_count, _popular_items_of.smallest_group,
        case when _popular_items_of.half_life is not null then used.measured end
      ) as score
    from used
    join track.item on item.item_id = used.item_id
  )

  -- The order shows nothing that the figures do not.
  select
    (row_number() over by_score)::int,
    shown.item,
    shown.title,
    shown.item_kind,
    shown.event_count,
    shown.person_count,
    shown.engaged,
    shown.score,
    null::text,
    false
  from shown
  window by_score as (order by shown.score desc, shown.event_count desc, shown.item)
  order by shown.score desc, shown.event_count desc, shown.item
  limit _popular_items_of.top;
end;
$$;

comment on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) is $$
Returns the most used items of some counted people, with the privileges of the caller: see `analytics.popular_items`.
`people` null: all counted people. `smallest_group`: see `analytics._shown`; a day on which fewer people used an item
counts with the other small days of its week (from Monday), when the period contains the week and they have at least
`smallest_group` people together, and otherwise not; 1: exact figures of all days.
$$;

grant execute on function analytics._popular_items_of(
  text, timestamptz, timestamptz, interval, int, text, bigint[], int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_items(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform common.check_period(_popular_items.since, _popular_items.until);
  if _popular_items.half_life <= '0' then
    perform common.refuse('CF001', format('half_life is %s', _popular_items.half_life),
      'Give an interval above zero, such as 7 days, or null for equal weights.');
  end if;
  perform common.check_count('top', _popular_items.top, 1, 10000);
  if _popular_items.measure is null or _popular_items.measure not in ('events', 'people', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_items.measure, 100)),
      'Use events (frequency), people (distinct people) or engaged (engaged time).');
  end if;
  if _popular_items.kind is not null
    and not exists (select from track.item where item.kind = _popular_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_popular_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    popular.rank, popular.item, popular.title, popular.kind, popular.event_count, popular.person_count,
    popular.engaged, popular.score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_items.among, _popular_items.breakdown, _popular_items.top_values, _popular_items.smallest_group
  ) as part
  cross join lateral analytics._popular_items_of(
    _popular_items.kind, _popular_items.since, _popular_items.until, _popular_items.half_life, _popular_items.top,
    _popular_items.measure, case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end,
    _popular_items.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

alter function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) is $$
Computes the result of `analytics.popular_items`.
`smallest_group`: see `analytics._shown`; 1: exact figures.
$$;

grant execute on function analytics._popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  half_life interval,
  top int,
  measure text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.popular_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
owner to insights_reader;

comment on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the result of `analytics.popular_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_items_shown(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst;

create or replace function analytics.popular_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  half_life interval default null,
  top int default 10,
  measure text default 'people',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_items(text, timestamptz, timestamptz, interval, int, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._popular_items(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values, 1
    );
  else
    return query
    select *
    from analytics._popular_items_shown(
      popular_items.kind, popular_items.since, popular_items.until, popular_items.half_life, popular_items.top,
      popular_items.measure, popular_items.among, popular_items.breakdown, popular_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
) is $$
Returns the most used items of a kind between two times (`until` exclusive), including what they contain.
`measure`: `events` (frequency), `people` (distinct people) or `engaged` (engaged time). `half_life`: age at which the
weight of an event is halved, as in trending lists (Metarank). `kind` null: the items themselves, without what they
contain. The period is extended to whole days, UTC, at both ends.
Only people in the set `counted` count, in all figures: those who have signed in, without excluded ones
(`track.exclude_person`); anonymized events and anonymous browsers do not. `among`: only people of these sets now, such
as `segment.power & ~cohort.beta`. `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people
of each value, of at most `top_values`; the others have `is_other`. Ranks are those within the value.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item counts with the other small days of its week (from Monday), when the period contains the whole week
and they have at least as many people together, and otherwise not: no two periods differ by the use of a smaller group.
Figures are rounded by `analytics._shown`, and items are in the order of what is shown; items of fewer people are
excluded, as those that nobody used.
With `among` or `breakdown`, small days are those of these people, a day on which the other people who used an item are
few does not count either, and the use is read from their journeys.
Days are read from the rollup, and those that are queued for a refresh from the events: the result includes every event
that was stored when the function was called. Engaged times are as of the last refresh of the sessions, and so are
people who used an item only by continuing to read a page of an earlier session.
Errors: CF001 for an invalid argument, CF002 for a kind that no item has and an unknown set.
$$;

grant execute on function analytics.popular_items(
  text, timestamptz, timestamptz, interval, int, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_items.sql

--! Included analytics/trend/_trend.sql
create or replace function analytics._trend(
  event_type_id int, bounds timestamptz[], of_days date[] default null, of_item_id bigint default null
)
returns table (
  bucket int,
  event_count bigint,
  person_count bigint,
  counted_events bigint,
  counted_people bigint,
  counted_engaged interval
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_first_day constant date := (bounds[1] at time zone 'UTC')::date;
  v_end_day constant date := (bounds[cardinality(bounds)] at time zone 'UTC')::date;
  v_bounds constant date[] := array(
    select (given.bound at time zone 'UTC')::date
    from unnest(bounds) with ordinality as given (bound, position)
    order by given.position
  );
  -- Null: all.
  v_event_types constant int[] := case when _trend.event_type_id <> 0 then array[_trend.event_type_id] end;
  v_queued record;
begin
  if _trend.of_item_id is not null then
    return query
    select
      of_item.bucket, of_item.event_count, of_item.person_count, of_item.event_count, of_item.person_count,
      of_item.engaged
    from analytics._trend_of_item(_trend.of_item_id, _trend.bounds, _trend.of_days) as of_item;
    return;
  end if;

  v_queued := track.queued_days(v_first_day, v_end_day);
  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as materialized (
    select
      activity.person_id, activity.day, activity.was,
      case
        when _trend.event_type_id = 0 then activity.event_count - activity.automatic_count
        else activity.event_count
      end as event_count,
      case when activity.item_id is not null then activity.engaged end as engaged,
      coalesce(
        get_bit(
          case when activity.was then stored_excluded.people else excluded.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_excluded,
      coalesce(
        get_bit(
          case when activity.was then stored_counted.people else counted.people end,
          (activity.person_id % 4096)::int
        ),
        0
      ) <> 0 as is_counted
    from (
      select stored.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as stored
      union all
      select computed.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days, v_event_types) as computed
    ) as activity
    left join excluded on excluded.block = activity.person_id / 4096
    left join counted on counted.block = activity.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = activity.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = activity.person_id / 4096
    where _trend.of_days is null
      or activity.day = any (_trend.of_days)
  ),

  change as (
    select
      queued.day,
      (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end)
          filter (where not queued.is_excluded),
        0
      ) as event_count,
      coalesce(
        sum(case when queued.was then -queued.event_count else queued.event_count end) filter (where queued.is_counted),
        0
      ) as counted_count
    from queued
    where queued.event_count > 0
    group by 1, 2
  ),

  present as (
    select presence.day, presence.block, presence.people, presence.event_count, presence.counted_count
    from track.presence
    where presence.event_type_id = _trend.event_type_id
      and presence.day >= v_first_day
      and presence.day < v_end_day
      and (_trend.of_days is null or presence.day = any (_trend.of_days))
  ),

  by_block as (
    select
      width_bucket(coalesce(present.day, change.day), v_bounds) as bucket,
      coalesce(present.block, change.block) as block,
      bit_or(
        coalesce(present.people & ~coalesce(change.cleared, v_no_people), v_no_people)
          | coalesce(change.added, v_no_people)
      ) as people,
      sum(coalesce(present.event_count, 0) + coalesce(change.event_count, 0)) as event_count,
      sum(coalesce(present.counted_count, 0) + coalesce(change.counted_count, 0)) as counted_count
    from present
    full join change on change.day = present.day and change.block = present.block
    group by 1, 2
  ),

  -- Time is spent in items, not in events of one type.
  engaged as (
    select width_bucket(spent.day, v_bounds) as bucket, sum(spent.engaged) as engaged
    from (
      select item_day.day, item_day.engaged
      from track.item_day
      where _trend.event_type_id = 0
        and not item_day.with_parts
        and item_day.day >= v_first_day
        and item_day.day < v_end_day
        and (_trend.of_days is null or item_day.day = any (_trend.of_days))
      union all
      select queued.day, case when queued.was then -queued.engaged else queued.engaged end
      from queued
      where _trend.event_type_id = 0
        and queued.is_counted
    ) as spent
    group by 1
  ),

  by_bucket as (
    select
      by_block.bucket,
      sum(by_block.event_count)::bigint as event_count,
      coalesce(sum(bit_count(by_block.people & ~coalesce(excluded.people, v_no_people))), 0)::bigint as person_count,
      sum(by_block.counted_count)::bigint as counted_events,
      coalesce(sum(bit_count(by_block.people & counted.people)), 0)::bigint as counted_people
    from by_block
    left join excluded on excluded.block = by_block.block
    left join counted on counted.block = by_block.block
    group by by_block.bucket
    having sum(by_block.event_count) > 0
  )

  select
    by_bucket.bucket, by_bucket.event_count, by_bucket.person_count, by_bucket.counted_events,
    by_bucket.counted_people,
    case when _trend.event_type_id = 0 then coalesce(engaged.engaged, '0') end
  from by_bucket
  left join engaged on engaged.bucket = by_bucket.bucket;
end;
$$;

comment on function analytics._trend(int, timestamptz[], date[], bigint) is $$
Returns the exact numbers of events and people per bucket that has events, with the privileges of the caller.
`event_type_id` 0: any event that is not automatic. `bounds`: n + 1 ascending beginnings of days, UTC, for the buckets
1 to n. `of_days`: only these days; null: all. Events and people are those of all people who are not excluded, and those
of the set `counted`, whose engaged time is that of any page; null for one event type. Read from the bits of
`track.presence` and the sums of `track.item_day`. `of_item_id`: use of the item, by `analytics._trend_of_item`, instead
of events.
$$;

grant execute on function analytics._trend(int, timestamptz[], date[], bigint) to insights_reader;
--! EndIncluded analytics/trend/_trend.sql

--! Included analytics/trend/_trend_uses.sql
create or replace function analytics._trend_uses(
  event_type_id int, bounds timestamptz[], of_item_id bigint, breakdown text
)
returns table (person_id bigint, bucket int, value text, event_count bigint, engaged interval)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := bounds[1];
  v_until constant timestamptz := bounds[cardinality(bounds)];
  v_kind constant text := split_part(breakdown, '.', 1);
  v_name constant text := substr(breakdown, length(v_kind) + 2);
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _trend_uses.of_item_id
  );
begin
  if v_kind = 'property'
    and _trend_uses.of_item_id is null
    and track.is_property_complete(_trend_uses.event_type_id, v_name)
  then
    return query
    select declared.person_id, declared.bucket, declared.value, declared.event_count, null::interval
    from track.value_buckets(_trend_uses.event_type_id, v_name, _trend_uses.bounds) as declared
    left join track.person_set_blocks('excluded') as excluded on excluded.block = declared.person_id / 4096
    where coalesce(get_bit(excluded.people, (declared.person_id % 4096)::int), 0) = 0;
  elsif v_kind in ('item', 'property', 'trait_then') then
    return query
    with history as materialized (
      select changes.person_id, changes.set_at, changes.value
      from track.trait_changes(null, v_name) as changes
      where v_kind = 'trait_then'
    ),

    excluded as materialized (
      select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
    ),

    happened as (
      select
        event.person_id,
        width_bucket(event.occurred_at, _trend_uses.bounds) as bucket,
        case when v_kind = 'item' then event.item_id end as item_id,
        left(
          case v_kind
            when 'property' then event.properties ->> v_name
            when 'trait_then' then history.value[width_bucket(event.occurred_at, history.set_at)] #>> '{}'
          end,
          200
        ) as value,
        count(*) as event_count
      from track.event
      join track.event_type on event_type.event_type_id = event.event_type_id
      join track.source on source.source_id = event.source_id
      left join history on history.person_id = event.person_id
      where event.occurred_at >= v_since
        and event.occurred_at < v_until
        and case
          when _trend_uses.event_type_id <> 0 then event.event_type_id = _trend_uses.event_type_id
          else _trend_uses.of_item_id is not null or not (event_type.is_automatic or source.is_automatic)
        end
        and (_trend_uses.of_item_id is null or event.item_id = any (v_items))
      group by 1, 2, 3, 4
    )

    select
      happened.person_id, happened.bucket,
      case when v_kind = 'item' then item.external_id else happened.value end,
      happened.event_count, null::interval
    from happened
    left join track.item on item.item_id = happened.item_id
    left join excluded on excluded.block = happened.person_id / 4096
    where coalesce(get_bit(excluded.people, (happened.person_id % 4096)::int), 0) = 0;
  else
    return query
    select person_bucket.person_id, person_bucket.bucket, null::text, person_bucket.event_count, null::interval
    from analytics._person_buckets(
      _trend_uses.event_type_id, _trend_uses.bounds, _trend_uses.of_item_id
    ) as person_bucket;
  end if;

  -- Time is spent in items, not in events of one type, and a page view has no property.
  if _trend_uses.event_type_id <> 0 or v_kind = 'property' then
    return;
  end if;

  return query
  with counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  history as materialized (
    select changes.person_id, changes.set_at, changes.value
    from track.trait_changes(null, v_name) as changes
    where v_kind = 'trait_then'
  ),

  queued as materialized (
    select
      entry.person_id,
      entry.first_day::timestamp at time zone 'UTC' as since,
      entry.end_day::timestamp at time zone 'UTC' as until
    from track.queued_days((v_since at time zone 'UTC')::date, (v_until at time zone 'UTC')::date + 1) as queued_days
    cross join lateral unnest(queued_days.people, queued_days.first_days, queued_days.end_days)
      as entry (person_id, first_day, end_day)
  ),

  viewed as (
    select page_view.*
    from track.page_view
    join counted
      on counted.block = page_view.person_id / 4096
      and get_bit(counted.people, (page_view.person_id % 4096)::int) <> 0
    where page_view.session_ended_at >= v_since
      and page_view.session_started_at < v_until
      and page_view.started_at >= v_since
      and page_view.started_at < v_until
      and page_view.item_id is not null
      and (_trend_uses.of_item_id is null or page_view.item_id = any (v_items))
  )

  select
    spent.person_id, spent.bucket, coalesce(item.external_id, spent.value), 0::bigint, spent.engaged
  from (
    select
      viewed.person_id, width_bucket(viewed.started_at, _trend_uses.bounds) as bucket,
      case when v_kind = 'item' then viewed.item_id end as item_id,
      left(history.value[width_bucket(viewed.started_at, history.set_at)] #>> '{}', 200) as value,
      sum(viewed.engaged) as engaged
    from viewed
    left join history on history.person_id = viewed.person_id
    left join queued
      on queued.person_id = viewed.person_id
      and viewed.started_at >= queued.since
      and viewed.started_at < queued.until
    -- An event that was moved to another person, or deleted, has a page view until the next refresh of the sessions.
    where queued.person_id is null
      or exists (
        select 1
        from track.event
        where event.person_id = viewed.person_id
          and event.occurred_at between viewed.started_at and viewed.ended_at
          and event.event_id = viewed.event_id
      )
    group by 1, 2, 3, 4
  ) as spent
  left join track.item on item.item_id = spent.item_id;
end;
$$;

comment on function analytics._trend_uses(int, timestamptz[], bigint, text) is $$
Returns the numbers of events per person, bucket and value of a breakdown, with the privileges of the caller.
`event_type_id`, `bounds` and `of_item_id` are those of `analytics._person_buckets`. `breakdown`: `item`,
`property.<name>` or `trait_then.<name>`, read from the events: the external id of the item of an event, the text of its
property, or that of the trait of the person at this time, of which the first 200 characters distinguish values; other
breakdowns are not values of events, and leave `value` null. Declared properties (`track.declare_property`) are read
from the journeys.
Engaged times are rows of their own, without events: those of page views of counted people; none for one event type, and
none by property.
$$;

grant execute on function analytics._trend_uses(int, timestamptz[], bigint, text) to insights_reader;
--! EndIncluded analytics/trend/_trend_uses.sql

--! Included analytics/functions/retention.sql
/*
 * A definer owned by insights_reader: it reads the activity of people, for those who may read it.
 * Each cell is the bits of a cohort and those of a period, combined by `&`.
 */
create or replace function analytics._retention(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.retention_cell
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_retention.event_name);
  v_return_type_id constant int := analytics._event_type_id(_retention.return_event);
  v_item_id constant bigint := analytics._item_id(_retention.item);
  v_lengths int[];
  v_ends int[];
  v_last_period int;
  -- Whether each period is one bucket.
  v_is_plain constant boolean := _retention.brackets is null;
  v_cohorts timestamptz[];
  v_cohort_count int;
  v_bounds timestamptz[];
  v_local timestamp;
  v_values text[];
begin
  if _retention.brackets is null then
    perform common.check_count('periods', _retention.periods, 1, 1000);
    v_lengths := array_fill(1, array[_retention.periods]);
  else
    perform common.check_count('the number of brackets', cardinality(_retention.brackets), 1, 100);
    perform common.check_count('a bracket', bracket.length, 1, 1000)
    from unnest(_retention.brackets) as bracket (length);
    v_lengths := array(select unnest(_retention.brackets));
  end if;
  v_ends := array(
    select sum(listed.length) over (order by listed.number)
    from unnest(v_lengths) with ordinality as listed (length, number)
    order by listed.number
  );
  v_last_period := v_ends[cardinality(v_ends)];
  if _retention.first_time is null or _retention.or_after is null then
    perform common.refuse(
      'CF001',
      format('%s is null', case when _retention.first_time is null then 'first_time' else 'or_after' end),
      'Use true or false.'
    );
  end if;
  if _retention.reference is null or _retention.reference not in ('start', 'previous') then
    perform common.refuse(
      'CF001',
      format('reference is "%s"', left(_retention.reference, 100)),
      'Use start (shares of the cohort) or previous (shares of the previous period).'
    );
  end if;
  if _retention.mean not in ('weighted', 'simple') then
    perform common.refuse(
      'CF001',
      format('mean is "%s"', left(_retention.mean, 100)),
      'Use weighted (by the size of the cohorts) or simple, or null for no means.'
    );
  end if;

  v_cohorts := analytics._bounds(_retention.bucket, _retention.since, _retention.until, _retention.zone);
  v_cohort_count := cardinality(v_cohorts) - 1;
  if v_cohort_count * (cardinality(v_lengths) + 1)
      * analytics._value_count(_retention.breakdown, _retention.top_values) > 100000
    or v_cohort_count + v_last_period > 10000
  then
    perform common.refuse(
      'CF008',
      format('there are %s cohorts with %s buckets each', v_cohort_count, v_last_period + 1),
      'There can be 100,000 cells, in 10,000 buckets. Give a shorter period, a larger bucket, fewer periods or values.'
    );
  end if;
  v_local := v_cohorts[v_cohort_count + 1] at time zone _retention.zone;
  v_bounds := analytics._bounds(
    _retention.bucket,
    v_cohorts[1],
    case
      when _retention.bucket in ('minute', 'hour')
        then v_cohorts[v_cohort_count + 1] + v_last_period * ('1 ' || _retention.bucket)::interval
      when _retention.bucket = 'quarter'
        then (v_local + v_last_period * interval '3 months') at time zone _retention.zone
      else (v_local + v_last_period * ('1 ' || _retention.bucket)::interval) at time zone _retention.zone
    end,
    _retention.zone
  );
  if _retention.breakdown like 'property.%' then
    if length(_retention.breakdown) > 200 or _retention.breakdown = 'property.' then
      perform common.refuse('CF001', format('breakdown is "%s"', left(_retention.breakdown, 100)),
        'Give a name after "property.", of 191 characters at most.');
    end if;
    v_values := analytics._property_values(
      v_event_type_id, v_cohorts[1], v_cohorts[v_cohort_count + 1], v_item_id, _retention.among,
      substr(_retention.breakdown, length('property.') + 1), _retention.top_values, _retention.smallest_group
    );
  end if;

  return query
  -- `series`: value and block in one column, because the planner underestimates a join on two.
  with returned as materialized (
    select
      present.value_key, present.bucket_number, present.block, present.people,
      (present.value_key || ' ' || present.block) collate "C" as series
    from analytics._presence_in_buckets(
      v_return_type_id, v_bounds, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
  ),

  -- In first-time retention, with all that was before.
  started as (
    select present.value_key, present.bucket_number - 1 as cohort, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, '-infinity'::timestamptz || v_cohorts, v_item_id, _retention.among, _retention.breakdown,
      _retention.top_values, v_values, _retention.smallest_group
    ) as present
    where _retention.first_time

    union all

    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_cohorts, v_item_id, _retention.among, _retention.breakdown, _retention.top_values,
      v_values, _retention.smallest_group
    ) as present
    where not _retention.first_time
      and v_event_type_id <> v_return_type_id

    union all

    select returned.value_key, returned.bucket_number, returned.block, returned.people
    from returned
    where not _retention.first_time
      and v_event_type_id = v_return_type_id
      and returned.bucket_number <= v_cohort_count
  ),

  member as materialized (
    select
      started.value_key, started.cohort, started.block, started.people,
      (started.value_key || ' ' || started.block) collate "C" as series
    from started
    where not _retention.first_time

    union all

    select
      first_one.value_key, first_one.cohort, first_one.block, first_one.people,
      (first_one.value_key || ' ' || first_one.block) collate "C"
    from (
      select
        started.value_key, started.cohort, started.block,
        started.people & ~coalesce(
          bit_or(started.people) over (
            partition by started.value_key, started.block
            order by started.cohort
            rows between unbounded preceding and 1 preceding
          ),
          v_no_people
        ) as people
      from started
      where _retention.first_time
    ) as first_one
    where first_one.cohort >= 1
  ),

  target as (
    select listed.number::int as period, listed.end_bucket - listed.length + 1 as first_bucket, listed.end_bucket
    from unnest(v_lengths, v_ends) with ordinality as listed (length, end_bucket, number)
  ),

  -- Read once: one of the branches below is never executed.
  did as not materialized (
    select
      member.value_key, member.cohort, returned.bucket_number - member.cohort as period, member.block,
      member.people & returned.people as people
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    where v_is_plain

    union all

    select
      member.value_key, member.cohort, target.period, member.block, bit_or(member.people & returned.people)
    from member
    join returned
      on returned.series = member.series
      and returned.bucket_number > member.cohort
      and returned.bucket_number <= member.cohort + v_last_period
    join target on returned.bucket_number - member.cohort between target.first_bucket and target.end_bucket
    where not v_is_plain
    group by member.value_key, member.cohort, target.period, member.block
  ),

  counted as (
    select did.value_key, did.cohort, did.period, sum(bit_count(did.people)::int) as person_count
    from did
    where not _retention.or_after
    group by did.value_key, did.cohort, did.period

    union all

    -- On or after: in this period or a later one.
    select later.value_key, later.cohort, covered.period, sum(bit_count(later.people)::int)
    from (
      select
        did.value_key, did.cohort, did.period,
        bit_or(did.people) over last_first as people,
        lead(did.period, 1, 0) over last_first as previous
      from did
      where _retention.or_after
      window last_first as (partition by did.value_key, did.cohort, did.block order by did.period desc)
    ) as later
    cross join lateral generate_series(later.previous + 1, later.period) as covered (period)
    group by later.value_key, later.cohort, covered.period

    union all

    select member.value_key, member.cohort, 0, sum(bit_count(member.people)::int)
    from member
    group by member.value_key, member.cohort
  ),

  cell as (
    select
      keys.value_key,
      cohort.cohort,
      period.period,
      v_bounds[cohort.cohort + period.first_bucket] as period_start,
      v_bounds[cohort.cohort + period.end_bucket + 1] as period_end,
      coalesce(
        case
          when _retention.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _retention.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct member.value_key from member where _retention.breakdown is not null
      union all
      select 'none' where _retention.breakdown is null
    ) as keys
    cross join generate_series(1, v_cohort_count) as cohort (cohort)
    cross join (
      select 0 as period, 0 as first_bucket, 0 as end_bucket
      union all
      select target.period, target.first_bucket, target.end_bucket from target
    ) as period
    left join counted
      on counted.value_key = keys.value_key
      and counted.cohort = cohort.cohort
      and counted.period = period.period
    where v_bounds[cohort.cohort + period.first_bucket] <= now()
  ),

  compared as (
    select
      cell.*,
      first_value(cell.person_count) over by_period as cohort_size,
      cell.period_end <= now() as is_complete,
      case
        when cell.period = 0 or _retention.reference = 'start' then first_value(cell.person_count) over by_period
        else lag(cell.person_count) over by_period
      end as reference_count,
      max(cell.person_count) over (partition by cell.value_key) as largest
    from cell
    window by_period as (partition by cell.value_key, cell.cohort order by cell.period)
  ),

  shown as (
    select
      compared.*,
      case when compared.reference_count > 0 then compared.person_count::float8 / compared.reference_count end as share
    from compared
    where _retention.breakdown is null
      or compared.largest > 0
  ),

  together as (
    select
      shown.value_key, shown.cohort, shown.cohort_size, shown.period, shown.period_start, shown.period_end,
      shown.person_count, shown.share, shown.is_complete
    from shown

    union all

    select
      shown.value_key, null, sum(shown.cohort_size)::bigint, shown.period, null, null,
      sum(shown.person_count)::bigint,
      case
        when _retention.mean = 'simple'
          then avg(shown.person_count::numeric / nullif(shown.reference_count, 0))::float8
        when sum(shown.reference_count) > 0
          then (sum(shown.person_count) / sum(shown.reference_count))::float8
      end,
      true
    from shown
    where shown.is_complete
      and _retention.mean is not null
    group by shown.value_key, shown.period
  )

  select
    case when together.value_key like '=%' then substr(together.value_key, 2) end,
    together.value_key = 'other',
    v_cohorts[together.cohort],
    together.cohort_size,
    together.period,
    together.period_start,
    together.period_end,
    together.person_count,
    together.share,
    together.is_complete,
    _retention.zone
  from together
  order by
    together.value_key = 'other', together.value_key = 'none', together.value_key, together.cohort nulls last,
    together.period;
end;
$$;

alter function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
) is $$
Computes the result of `analytics.retention`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares and means are computed from the figures as shown.
$$;

grant execute on function analytics._retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._retention_shown(
  event_name text,
  return_event text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  periods int,
  first_time boolean,
  or_after boolean,
  brackets int[],
  reference text,
  mean text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.retention_cell
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._retention(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
owner to insights_reader;

comment on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns the result of `analytics.retention` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._retention_shown(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst;

create or replace function analytics.retention(
  event_name text default null,
  return_event text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  periods int default 12,
  first_time boolean default false,
  or_after boolean default false,
  brackets int[] default null,
  reference text default 'start',
  mean text default 'weighted',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.retention_cell
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._retention(text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], '
      || 'text, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._retention(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values, null
    );
  else
    return query
    select *
    from analytics._retention_shown(
      retention.event_name, retention.return_event, retention.bucket, retention.since, retention.until,
      retention.zone, retention.periods, retention.first_time, retention.or_after, retention.brackets,
      retention.reference, retention.mean, retention.item, retention.among, retention.breakdown,
      retention.top_values
    );
  end if;
end;
$$;

comment on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
) is $$
Returns how many people of each cohort come back in each later period, with the means of the cohorts.
A cohort is the people who did the event `event_name` in a bucket from `since` until `until` (extended to whole buckets
of the zone; weeks start on Monday). A person belongs to the cohort of each bucket in which she did it; with
`first_time`, to that of her first event of this type ever, also before `since`. Period 0 is the bucket of the cohort,
and contains the whole cohort; period n is the nth bucket after it, and contains the people of the cohort who did
`return_event` in it. Null for either event: any event that is not automatic.
There is one row for each cohort and period that has started, from 0 to `periods`, and one for the mean of each period
(`cohort_start` is null). A period that has not ended is not complete (`is_complete`), and is left out of the means.
`or_after`: people who did it in the period or in a later one, up to the last period. `brackets`: lengths of the periods
in buckets, instead of `periods`: {1,2,4} are the periods of bucket 1, of 2 and 3, and of 4 to 7. `reference`: shares
of the cohort (`start`) or of the `previous` period. `mean`: `weighted` by the size of the cohorts, `simple`, or null.
The semantics are those of PostHog, whose weeks start on Sunday.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>`, with which both events must have the same value (read
from the events; `first_time` is then the first event with the value). Of a trait or property, the `top_values` values
of most people are named, others are one value (`is_other`). A value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares and means are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 100,000 cells (cohorts, periods and values), or 10,000 buckets.
$$;

grant execute on function analytics.retention(
  text, text, text, timestamptz, timestamptz, text, int, boolean, boolean, int[], text, text, text, text, text,
  int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/retention.sql

--! Included analytics/functions/lifecycle.sql
/*
 * A definer owned by insights_reader: it reads the activity of people, for those who may read it.
 * The active people of a bucket, compared with those before by `&` and `& ~`.
 */
create or replace function analytics._lifecycle(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.lifecycle_bucket
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_lifecycle.event_name);
  v_item_id constant bigint := analytics._item_id(_lifecycle.item);
  v_bounds timestamptz[];
  v_with_past timestamptz[];
begin
  v_bounds := analytics._bounds(_lifecycle.bucket, _lifecycle.since, _lifecycle.until, _lifecycle.zone);
  if _lifecycle.breakdown is not null
    and (cardinality(v_bounds) - 1) * analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values) > 200000
  then
    perform common.refuse(
      'CF008',
      format(
        '%s buckets of %s values are more than 200000 rows',
        cardinality(v_bounds) - 1, analytics._value_count(_lifecycle.breakdown, _lifecycle.top_values)
      ),
      'Give a shorter period, a larger bucket, or fewer top_values.'
    );
  end if;
  -- Bucket 1 is all that was before the previous bucket, which is bucket 2.
  v_with_past := array[
    '-infinity',
    (
      analytics._bounds(_lifecycle.bucket, v_bounds[1] - interval '1 microsecond', v_bounds[1], _lifecycle.zone)
    )[1]
  ] || v_bounds;

  return query
  with active as materialized (
    select present.value_key, present.bucket_number, present.block, present.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_with_past, v_item_id, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values,
      null, _lifecycle.smallest_group
    ) as present
  ),

  together as (
    select
      activity.value_key, activity.bucket_number, activity.block,
      bit_or(activity.people) filter (where activity.is_asked) as active,
      bit_or(activity.people) as seen
    from (
      select active.*, true as is_asked
      from active

      union all

      -- People are not new when they did anything before.
      select present.value_key, present.bucket_number, present.block, present.people, false
      from analytics._presence_in_buckets(
        0, v_with_past, null, _lifecycle.among, _lifecycle.breakdown, _lifecycle.top_values, null,
        _lifecycle.smallest_group
      ) as present
      where v_event_type_id <> 0
        or v_item_id is not null
    ) as activity
    group by activity.value_key, activity.bucket_number, activity.block
  ),

  compared as (
    select
      together.value_key,
      together.bucket_number,
      coalesce(together.active, v_no_people) as active,
      coalesce(
        bit_or(together.seen) over (in_order rows between unbounded preceding and 1 preceding), v_no_people
      ) as seen,
      case
        when lag(together.bucket_number) over in_order = together.bucket_number - 1
          then coalesce(lag(together.active) over in_order, v_no_people)
        else v_no_people
      end as previous
    from together
    window in_order as (partition by together.value_key, together.block order by together.bucket_number)
  ),

  counted as (
    select
      compared.value_key,
      compared.bucket_number,
      sum(bit_count(compared.active)::int) as active_people,
      sum(bit_count(compared.active & ~compared.seen)::int) as new_people,
      sum(bit_count(compared.active & compared.previous)::int) as returning_people,
      -- One column, because a join on two is by the first of them where the planner expects few rows.
      (compared.value_key || ' ' || compared.bucket_number) collate "C" as place
    from compared
    group by compared.value_key, compared.bucket_number
  ),

  filled as (
    select
      keys.value_key,
      number.bucket_number,
      coalesce(counted.new_people, 0) as new_people,
      coalesce(counted.returning_people, 0) as returning_people,
      coalesce(counted.active_people - counted.new_people - counted.returning_people, 0) as resurrecting_people,
      coalesce(lag(counted.active_people) over in_order, 0) - coalesce(counted.returning_people, 0) as dormant_people
    from (
      select distinct counted.value_key from counted where _lifecycle.breakdown is not null
      union all
      select 'none' where _lifecycle.breakdown is null
    ) as keys
    cross join generate_series(2, cardinality(v_bounds) + 1) as number (bucket_number)
    left join counted on counted.place = (keys.value_key || ' ' || number.bucket_number) collate "C"
    window in_order as (partition by keys.value_key order by number.bucket_number)
  ),

  shown as (
    select
      filled.value_key,
      filled.bucket_number - 2 as bucket_number,
      analytics._shown(filled.new_people, filled.new_people::bigint, _lifecycle.smallest_group)::bigint
        as new_people,
      analytics._shown(
        filled.returning_people, filled.returning_people::bigint, _lifecycle.smallest_group
      )::bigint as returning_people,
      analytics._shown(
        filled.resurrecting_people, filled.resurrecting_people::bigint, _lifecycle.smallest_group
      )::bigint as resurrecting_people,
      analytics._shown(filled.dormant_people, filled.dormant_people::bigint, _lifecycle.smallest_group)::bigint
        as dormant_people
    from filled
    where filled.bucket_number > 2
  )

  select
    v_bounds[bucketed.bucket_number],
    case when bucketed.value_key like '=%' then substr(bucketed.value_key, 2) end,
    bucketed.value_key = 'other',
    bucketed.new_people,
    bucketed.returning_people,
    bucketed.resurrecting_people,
    bucketed.dormant_people,
    v_bounds[bucketed.bucket_number + 1] <= now(),
    _lifecycle.zone
  from (
    select
      shown.*,
      max(shown.new_people + shown.returning_people + shown.resurrecting_people + shown.dormant_people)
        over (partition by shown.value_key) as largest
    from shown
  ) as bucketed
  where _lifecycle.breakdown is null
    or bucketed.largest > 0
  order by
    bucketed.value_key = 'other', bucketed.value_key = 'none', bucketed.value_key, bucketed.bucket_number;
end;
$$;

alter function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) is $$
Computes the result of `analytics.lifecycle`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._lifecycle(
  text, text, timestamptz, timestamptz, text, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._lifecycle_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.lifecycle_bucket
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._lifecycle(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.lifecycle` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._lifecycle_shown(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.lifecycle(
  event_name text default null,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.lifecycle_bucket
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._lifecycle(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values, null
    );
  else
    return query
    select *
    from analytics._lifecycle_shown(
      lifecycle.event_name, lifecycle.bucket, lifecycle.since, lifecycle.until, lifecycle.zone, lifecycle.item,
      lifecycle.among, lifecycle.breakdown, lifecycle.top_values
    );
  end if;
end;
$$;

comment on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the active people of each bucket by their activity before: new, returning, resurrecting, and dormant people.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. They are `new` when
their first event of any kind is in it, `returning` when they were active in the previous bucket too, and otherwise
`resurrecting`. `dormant` are people who were active in the previous bucket and are not in this one. The semantics are
those of PostHog, with the first event as the time at which a person was created.
Buckets are whole ones of the zone, and weeks start on Monday. `item`: events of the item and what it contains. `among`:
people of these sets now, such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value
without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 10,000 buckets, or 200,000 rows with a breakdown.
$$;

grant execute on function analytics.lifecycle(text, text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/lifecycle.sql

--! Included analytics/functions/stickiness.sql
create or replace function analytics._people_by_times(counts bit(4096)[], most int)
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_digit int;
  v_people bit(4096);
  v_result bigint[] := '{}';
begin
  for v_times in 1..most loop
    v_people := case when v_times >> cardinality(counts) = 0 then ~v_no_people else v_no_people end;
    v_digit := 1;
    while v_digit <= cardinality(counts) and v_people <> v_no_people loop
      v_people := v_people & case
        when v_times & (1 << (v_digit - 1)) <> 0 then counts[v_digit]
        else ~counts[v_digit]
      end;
      v_digit := v_digit + 1;
    end loop;
    v_result := v_result || bit_count(v_people);
  end loop;
  return v_result;
end;
$$;

comment on function analytics._people_by_times(bit[], int) is $$
Returns how many people of a block have the number 1, 2, … up to `most`, given their numbers (`analytics._bit_counts`).
$$;

grant execute on function analytics._people_by_times(bit[], int) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._stickiness(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.stickiness_group
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_stickiness.event_name);
  v_item_id constant bigint := analytics._item_id(_stickiness.item);
  v_bounds constant timestamptz[] := analytics._bounds(
    _stickiness.bucket, _stickiness.since, _stickiness.until, _stickiness.zone
  );
  v_buckets constant int := cardinality(v_bounds) - 1;
begin
  if v_buckets > 1000 then
    perform common.refuse('CF008', format('there are %s buckets', v_buckets),
      'There can be 1,000. Give a shorter period, or a larger bucket.');
  end if;
  if _stickiness.or_more is null then
    perform common.refuse('CF001', 'or_more is null', 'Use true or false.');
  end if;

  return query
  with exact as (
    select by_block.value_key, counted.times::int as times, sum(counted.people) as person_count
    from (
      select
        present.value_key, present.block,
        analytics._people_by_times(analytics._bit_counts(present.people), v_buckets) as people
      from analytics._presence_in_buckets(
        v_event_type_id, v_bounds, v_item_id, _stickiness.among, _stickiness.breakdown, _stickiness.top_values,
        null, _stickiness.smallest_group
      ) as present
      group by present.value_key, present.block
    ) as by_block
    cross join lateral unnest(by_block.people) with ordinality as counted (people, times)
    group by by_block.value_key, counted.times
  ),

  summed as (
    select
      keys.value_key,
      number.times,
      case
        when _stickiness.or_more
          then sum(exact.person_count) over (partition by keys.value_key order by number.times desc)
        else exact.person_count
      end as person_count,
      sum(exact.person_count) over (partition by keys.value_key) as active_people
    from (
      select distinct exact.value_key from exact where _stickiness.breakdown is not null
      union all
      select 'none' where _stickiness.breakdown is null
    ) as keys
    cross join generate_series(1, v_buckets) as number (times)
    left join exact on exact.value_key = keys.value_key and exact.times = number.times
  ),

  shown as (
    select
      summed.value_key,
      summed.times,
      coalesce(
        analytics._shown(summed.person_count, summed.person_count::bigint, _stickiness.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(summed.active_people, summed.active_people::bigint, _stickiness.smallest_group), 0
      ) as active_people
    from summed
  )

  select
    case when shown.value_key like '=%' then substr(shown.value_key, 2) end,
    shown.value_key = 'other',
    shown.times,
    shown.person_count,
    shown.person_count / nullif(shown.active_people, 0),
    v_bounds[v_buckets + 1] <= now(),
    _stickiness.zone
  from shown
  where _stickiness.breakdown is null
    or shown.active_people > 0
  order by shown.value_key = 'other', shown.value_key = 'none', shown.value_key, shown.times;
end;
$$;

alter function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) is $$
Computes the result of `analytics.stickiness`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. Shares are computed from the figures as shown.
$$;

grant execute on function analytics._stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._stickiness_shown(
  event_name text,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  or_more boolean,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.stickiness_group
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._stickiness(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._stickiness_shown(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int)
owner to insights_reader;

comment on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns the result of `analytics.stickiness` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._stickiness_shown(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst;

create or replace function analytics.stickiness(
  event_name text default null,
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  or_more boolean default false,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.stickiness_group
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._stickiness(text, text, timestamptz, timestamptz, text, boolean, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._stickiness(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values, null
    );
  else
    return query
    select *
    from analytics._stickiness_shown(
      stickiness.event_name, stickiness.bucket, stickiness.since, stickiness.until, stickiness.zone,
      stickiness.or_more, stickiness.item, stickiness.among, stickiness.breakdown, stickiness.top_values
    );
  end if;
end;
$$;

comment on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
) is $$
Returns how many people were active in exactly 1, 2, … buckets of a period.
Active are people with the event `event_name` (null: any event that is not automatic) in the bucket. `or_more`: people
who were active in at least as many buckets. Buckets are whole ones of the zone, and weeks start on Monday. The
semantics are those of PostHog. `item`: events of the item and what it contains. `among`: people of these sets now,
such as `segment.power & ~staff`. `breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`, and
shares are computed from the figures as shown.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 1,000 buckets.
$$;

grant execute on function analytics.stickiness(
  text, text, timestamptz, timestamptz, text, boolean, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/stickiness.sql

--! Included analytics/functions/active_people.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._active_people(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
-- A row has a bit string of half a kilobyte.
set work_mem to '64MB'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_event_type_id constant int := analytics._event_type_id(_active_people.event_name);
  v_item_id constant bigint := analytics._item_id(_active_people.item);
  v_windows int[];
  v_asked timestamptz[];
  v_bounds timestamptz[];
  v_earlier_days int;
begin
  perform common.check_count('the number of windows', cardinality(_active_people.windows), 1, 10);
  perform common.check_count('a window', size.days, 1, 366)
  from unnest(_active_people.windows) as size (days);
  v_windows := array(select distinct size.days from unnest(_active_people.windows) as size (days));
  v_asked := analytics._bounds('day', _active_people.since, _active_people.until, _active_people.zone);
  if (cardinality(v_asked) - 1) * cardinality(v_windows)
    * analytics._value_count(_active_people.breakdown, _active_people.top_values) > 20000
  then
    perform common.refuse(
      'CF008',
      format('there are %s days with %s windows each', cardinality(v_asked) - 1, cardinality(v_windows)),
      'There can be 20,000 points. Give a shorter period, fewer windows or fewer values.'
    );
  end if;
  v_bounds := analytics._bounds(
    'day',
    (
      v_asked[1] at time zone _active_people.zone
        - ((select max(size.days) from unnest(v_windows) as size (days)) - 1) * interval '1 day'
    ) at time zone _active_people.zone,
    v_asked[cardinality(v_asked)],
    _active_people.zone
  );
  v_earlier_days := cardinality(v_bounds) - cardinality(v_asked);

  return query
  -- For analysts, the people of the small days of a week are at its last day.
  with present as (
    select by_value.value_key, 1 as days, by_value.bucket_number as day_number, by_value.block, by_value.people
    from analytics._presence_in_buckets(
      v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
      _active_people.top_values, null, null
    ) as by_value
    where _active_people.smallest_group is null

    union all

    select
      placed.value_key, placed.last_day - placed.first_day + 1, placed.last_day, placed.block, bit_or(placed.people)
    from (
      select
        of_group.value_key, of_group.block, of_group.people,
        width_bucket(of_group.start_at, v_bounds) as first_day,
        width_bucket(of_group.end_at - interval '1 microsecond', v_bounds) as last_day
      from analytics._presence_of_groups(
        v_event_type_id, v_bounds, v_item_id, _active_people.among, _active_people.breakdown,
        _active_people.top_values, null, _active_people.smallest_group
      ) as of_group
      where _active_people.smallest_group is not null
        and of_group.start_at >= v_bounds[1]
        and of_group.end_at <= v_bounds[cardinality(v_bounds)]
    ) as placed
    group by 1, 2, 3, 4
  ),

  -- `series_key`: in one column, because the planner underestimates a join on three.
  named as materialized (
    select present.*, (present.value_key || ' ' || present.days || ' ' || present.block) collate "C" as series_key
    from present
  ),

  series as materialized (
    select
      listed.*,
      row_number() over () as series_number,
      dense_rank() over (order by listed.value_key)::int as value_number
    from (select distinct named.series_key, named.value_key, named.days, named.block from named) as listed
  ),

  keyed as materialized (
    select
      series.series_number * 100000 + named.day_number as day_key, series.value_number, named.days, named.day_number,
      named.people
    from named
    join series on series.series_key = named.series_key
  ),

  -- Each day of each block, also without people, for each window. `length`: the number of last days of the rows that
  -- the window contains.
  filled as (
    select
      series.series_number * 1000 + size.days as run,
      series.value_number,
      series.block,
      size.days as window_days,
      size.days - series.days + 1 as length,
      day.number as day_number,
      coalesce(keyed.people, v_no_people) as people
    from series
    join unnest(v_windows) as size (days)
      on size.days >= series.days
      and size.days > 1
    cross join generate_series(1, cardinality(v_bounds) - 1) as day (number)
    left join keyed on keyed.day_key = series.series_number * 100000 + day.number
  ),

  -- Days are divided into parts of the length of the window. A window is the end of a part and the beginning of the
  -- next one: the number of operations does not depend on the length (van Herk, Gil and Werman).
  part as (
    select
      parted.*,
      bit_or(parted.people) over (partition by parted.run, parted.part order by parted.day_number desc) as from_day
    from (select filled.*, (filled.day_number - 1) / filled.length as part from filled) as parted
  ),

  rolled as not materialized (
    select
      part.value_number, part.window_days, part.block, part.day_number,
      bit_or(part.people) over (partition by part.run, part.part order by part.day_number) | coalesce(
        -- In the order of the other window: one sort for both.
        lag(part.from_day, part.length - 1) over (partition by part.run order by part.part, part.day_number),
        v_no_people
      ) as people
    from part
  ),

  counted as (
    select keyed.value_number, 1 as window_days, keyed.day_number, sum(bit_count(keyed.people)::int) as person_count
    from keyed
    where keyed.days = 1
    group by keyed.value_number, keyed.day_number

    union all

    select rolled.value_number, rolled.window_days, rolled.day_number, sum(bit_count(rolled.people)::int)
    from rolled
    where rolled.day_number > v_earlier_days
      and _active_people.smallest_group is null
    group by rolled.value_number, rolled.window_days, rolled.day_number

    union all

    select combined.value_number, combined.window_days, combined.day_number, sum(bit_count(combined.people)::int)
    from (
      select rolled.value_number, rolled.window_days, rolled.day_number, rolled.block, bit_or(rolled.people) as people
      from rolled
      where rolled.day_number > v_earlier_days
        and _active_people.smallest_group is not null
      group by rolled.value_number, rolled.window_days, rolled.day_number, rolled.block
    ) as combined
    group by combined.value_number, combined.window_days, combined.day_number
  ),

  shown as (
    select
      keys.value_key,
      size.days as window_days,
      day.number as day_number,
      coalesce(
        case
          when _active_people.smallest_group is null then counted.person_count
          else analytics._shown(counted.person_count, counted.person_count::bigint, _active_people.smallest_group)
        end,
        0
      )::bigint as person_count
    from (
      select distinct series.value_key, series.value_number from series where _active_people.breakdown is not null
      union all
      select 'none', 1 where _active_people.breakdown is null
    ) as keys
    cross join (select distinct listed.days from unnest(v_windows || 1) as listed (days)) as size
    cross join generate_series(v_earlier_days + 1, cardinality(v_bounds) - 1) as day (number)
    left join counted
      on counted.value_number = keys.value_number
      and counted.window_days = size.days
      and counted.day_number = day.number
  )

  select
    v_bounds[point.day_number],
    case when point.value_key like '=%' then substr(point.value_key, 2) end,
    point.value_key = 'other',
    point.window_days,
    point.person_count,
    point.person_of_day::float8 / nullif(point.person_count, 0),
    v_bounds[point.day_number + 1] <= now(),
    _active_people.zone
  from (
    select
      shown.*,
      first_value(shown.person_count)
        over (partition by shown.value_key, shown.day_number order by shown.window_days) as person_of_day,
      max(shown.person_count) over (partition by shown.value_key) as largest
    from shown
  ) as point
  where point.window_days = any (v_windows)
    and (_active_people.breakdown is null or point.largest > 0)
  order by
    point.value_key = 'other', point.value_key = 'none', point.value_key, point.window_days, point.day_number;
end;
$$;

alter function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) is $$
Computes the result of `analytics.active_people`.
`smallest_group`: figures of groups of counted people (see `analytics._presence_of_groups` and `analytics._shown`);
null: exact figures of all people. The stickiness is computed from the figures as shown.
$$;

grant execute on function analytics._active_people(
  text, timestamptz, timestamptz, text, int[], text, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._active_people_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  windows int[],
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.active_people_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._active_people(
    $1, $2, $3, $4, $5, $6, $7, $8, $9,
    (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._active_people_shown(text, timestamptz, timestamptz, text, int[], text, text, text, int)
owner to insights_reader;

comment on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
) is $$
Returns the result of `analytics.active_people` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._active_people_shown(
  text, timestamptz, timestamptz, text, int[], text, text, text, int
)
to insights_analyst;

create or replace function analytics.active_people(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  windows int[] default '{1,7,30}',
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.active_people_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._active_people(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values, null
    );
  else
    return query
    select *
    from analytics._active_people_shown(
      active_people.event_name, active_people.since, active_people.until, active_people.zone,
      active_people.windows, active_people.item, active_people.among, active_people.breakdown,
      active_people.top_values
    );
  end if;
end;
$$;

comment on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int) is $$
Returns the daily, weekly and monthly active people of each day: distinct people of the last 1, 7 and 30 days.
There is one row for each day from `since` until `until` and each of the `windows`, a number of days that end with this
day. `stickiness` is the number of active people of the day in proportion to those of the window: DAU/MAU with 30 days.
Active are people with the event `event_name` (null: any event that is not automatic). Days are whole ones of the zone.
`item`: events of the item and what it contains. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>` or `trait.<name>`; a value without people is left out.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the event, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`. The small
days of a week count in windows that contain the whole week.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest), CF008 for
more than 20,000 days of windows and values.
$$;

grant execute on function analytics.active_people(text, timestamptz, timestamptz, text, int[], text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/active_people.sql

--! Included analytics/functions/activity_by_minute.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._activity_by_minute(minutes int, smallest_group int)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_until constant timestamptz := date_trunc('minute', now()) + interval '1 minute';
  v_since timestamptz;
begin
  perform common.check_count('minutes', _activity_by_minute.minutes, 1, 1440);
  v_since := v_until - make_interval(mins => _activity_by_minute.minutes);

  return query
  with by_person as (
    select date_trunc('minute', event.occurred_at) as minute, event.person_id, count(*) as event_count
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.occurred_at >= v_since
      and event.occurred_at < v_until
      and event.person_id <> 0
      and not (event_type.is_automatic or source.is_automatic)
    group by 1, 2
  ),

  counted as (
    select by_person.minute, sum(by_person.event_count) as event_count, count(*) as person_count
    from by_person
    join analytics._members(null, _activity_by_minute.smallest_group) as member
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    group by by_person.minute
  )

  select
    entry.minute,
    coalesce(
      analytics._shown(counted.event_count::float8, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint,
    coalesce(
      analytics._shown(counted.person_count, counted.person_count, _activity_by_minute.smallest_group), 0
    )::bigint
  from generate_series(v_since, v_until - interval '1 minute', interval '1 minute') as entry (minute)
  left join counted on counted.minute = entry.minute
  order by entry.minute;
end;
$$;

alter function analytics._activity_by_minute(int, int) owner to insights_reader;

comment on function analytics._activity_by_minute(int, int) is $$
Computes the result of `analytics.activity_by_minute`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._activity_by_minute(int, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._activity_by_minute_shown(minutes int)
returns setof analytics.minute_activity
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from analytics._activity_by_minute($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._activity_by_minute_shown(int) owner to insights_reader;

comment on function analytics._activity_by_minute_shown(int) is $$
Returns the result of `analytics.activity_by_minute` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._activity_by_minute_shown(int) to insights_analyst;

create or replace function analytics.activity_by_minute(minutes int default 30)
returns setof analytics.minute_activity
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._activity_by_minute(int, int)', 'execute') then
    return query select * from analytics._activity_by_minute(activity_by_minute.minutes, null);
  else
    return query select * from analytics._activity_by_minute_shown(activity_by_minute.minutes);
  end if;
end;
$$;

comment on function analytics.activity_by_minute(int) is $$
Returns the events and people of each of the last `minutes` (1 to 1440), the present one last.
By the time at which the events happened; events of automatic types and sources do not count. The result includes every
event that was stored when the function was called, also before a refresh.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people: a
minute of fewer than `analytics.setting.smallest_group` of them reads as 0, others are rounded by `analytics._shown`.
Errors: CF001 or CF008 for a number of minutes out of range.
$$;

grant execute on function analytics.activity_by_minute(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/activity_by_minute.sql

--! Included analytics/functions/popular_courses.sql
create or replace function analytics._popular_courses_of(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  confidence float8,
  prior_weight float8,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_first_day constant date := greatest(_popular_courses_of.since::date, '0001-01-01');
  v_end_day constant date := least(
    (greatest(_popular_courses_of.until, '0001-01-01') - interval '1 microsecond')::date, '9999-12-30'
  ) + 1;
  v_z constant float8 := ml.normal_quantile((1 + _popular_courses_of.confidence) / 2);
begin
  return query
  with used as (
    select
      kernel.item_id as course_id,
      analytics._shown(kernel.event_count, kernel.person_count, _popular_courses_of.smallest_group)::bigint
        as event_count,
      analytics._shown(
        kernel.person_count, kernel.person_count, _popular_courses_of.smallest_group
      )::bigint as person_count,
      case
        when coalesce(_popular_courses_of.smallest_group, 1) = 1 then kernel.engaged
        else make_interval(secs => analytics._shown(
          extract(epoch from kernel.engaged)::float8, kernel.person_count, _popular_courses_of.smallest_group
        ))
      end as engaged
    from analytics._item_use(
      'course', v_first_day, v_end_day, null, v_end_day, coalesce(_popular_courses_of.smallest_group, 1),
      case
        when _popular_courses_of.blocks is not null
          then analytics._people_of(_popular_courses_of.blocks, _popular_courses_of.people)
      end
    ) as kernel
    where kernel.person_count >= coalesce(_popular_courses_of.smallest_group, 1)
  ),

  -- Rates, bounds and averages are computed from the numbers as shown.
  completed as (
    select
      shown.course_id, shown.enrolment_count, shown.completion_count,
      sum(shown.completion_count) over () / nullif(sum(shown.enrolment_count) over (), 0) as rate_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.enrolment_count, kernel.enrolment_count, _popular_courses_of.smallest_group
        )::bigint as enrolment_count,
        analytics._shown(
          kernel.completion_count, kernel.completion_count, _popular_courses_of.smallest_group
        )::bigint as completion_count
      from analytics._course_completion(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
    ) as shown
  ),

  rated as (
    select
      shown.course_id, shown.rating_count, shown.mean_rating,
      sum(shown.rating_count * shown.mean_rating) over ()
        / nullif(sum(shown.rating_count) filter (where shown.mean_rating is not null) over (), 0) as mean_of_all
    from (
      select
        kernel.course_id,
        analytics._shown(
          kernel.rating_count, kernel.rating_count, _popular_courses_of.smallest_group
        )::bigint as rating_count,
        analytics._shown_mean(kernel.mean_rating, kernel.rating_count, _popular_courses_of.smallest_group)
          as mean_rating
      from analytics._course_ratings(_popular_courses_of.blocks, _popular_courses_of.people) as kernel
      where _popular_courses_of.measure = 'rating'
    ) as shown
  ),

  scored as (
    select
      item.external_id as course,
      item.title,
      used.event_count,
      used.person_count,
      used.engaged,
      coalesce(completed.enrolment_count, 0) as enrolment_count,
      coalesce(completed.completion_count, 0) as completion_count,
      completed.completion_count::float8 / nullif(completed.enrolment_count, 0) as completion_rate,
      bounds.bound[1] as completion_lower,
      bounds.bound[2] as completion_upper,
      case
        when completed.enrolment_count > 0
          then analytics._bayesian_average(
            completed.completion_count::float8 / completed.enrolment_count, completed.enrolment_count,
            completed.rate_of_all::float8, _popular_courses_of.prior_weight
          )
      end as completion_score,
      case when _popular_courses_of.measure = 'rating' then coalesce(rated.rating_count, 0) end as rating_count,
      rated.mean_rating,
      analytics._bayesian_average(
        rated.mean_rating, rated.rating_count, rated.mean_of_all, _popular_courses_of.prior_weight
      ) as rating_score
    from used
    join track.item on item.item_id = used.course_id
    left join completed on completed.course_id = used.course_id
    left join rated on rated.course_id = used.course_id
    cross join lateral (
      select analytics.wilson_bounds(
        completed.completion_count, completed.enrolment_count, v_z
      ) as bound
    ) as bounds
  )

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal courses.
  select
    (row_number() over by_score)::int,
    scored.course,
    scored.title,
    scored.event_count,
    scored.person_count,
    scored.engaged,
    scored.enrolment_count,
    scored.completion_count,
    scored.completion_rate,
    scored.completion_lower,
    scored.completion_upper,
    scored.completion_score,
    scored.rating_count,
    scored.mean_rating,
    scored.rating_score,
    null::text,
    false
  from scored
  cross join lateral (
    select round(
      case _popular_courses_of.measure
        when 'events' then scored.event_count
        when 'people' then scored.person_count
        when 'engaged' then extract(epoch from scored.engaged)
        when 'completion' then scored.completion_score
        when 'completion_bound' then scored.completion_lower
        when 'rating' then scored.rating_score
      end::numeric,
      9
    ) as score
  ) as by_measure
  window by_score as (
    order by by_measure.score desc nulls last, scored.person_count desc, scored.event_count desc, scored.course
  )
  order by 1
  limit _popular_courses_of.top;
end;
$$;

comment on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) is $$
Returns the most popular courses of some counted people, with the privileges of the caller.
See `analytics.popular_courses`. `blocks`, `people`: one bit per person; null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses_of(
  timestamptz, timestamptz, text, int, float8, float8, int[], bit[], int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._popular_courses(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
begin
  perform common.check_period(_popular_courses.since, _popular_courses.until);
  perform common.check_count('top', _popular_courses.top, 1, 10000);
  if _popular_courses.measure is null
    or _popular_courses.measure not in ('events', 'people', 'engaged', 'completion', 'completion_bound', 'rating')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_popular_courses.measure, 100)),
      'Use events, people, engaged, completion (Bayesian average), completion_bound (Wilson) or rating.');
  end if;
  if _popular_courses.confidence is null or not (_popular_courses.confidence between 0.5 and 0.9999) then
    perform common.refuse('CF001', format('confidence is %s', coalesce(_popular_courses.confidence::text, 'null')),
      'Give a probability from 0.5 to 0.9999, such as 0.95.');
  end if;
  if _popular_courses.prior_weight is null or not (_popular_courses.prior_weight between 0 and 1000000) then
    perform common.refuse(
      'CF001',
      format('prior_weight is %s', coalesce(_popular_courses.prior_weight::text, 'null')),
      'Give a number of learners from 0 to 1000000: the mean of all courses counts for as many.'
    );
  end if;

  return query
  select
    popular.rank, popular.course, popular.title, popular.event_count, popular.person_count, popular.engaged,
    popular.enrolment_count, popular.completion_count, popular.completion_rate, popular.completion_lower,
    popular.completion_upper, popular.completion_score, popular.rating_count, popular.mean_rating,
    popular.rating_score, part.value, part.is_other
  from analytics._counted_groups(
    _popular_courses.among, _popular_courses.breakdown, _popular_courses.top_values, _popular_courses.smallest_group
  ) as part
  cross join lateral analytics._popular_courses_of(
    _popular_courses.since, _popular_courses.until, _popular_courses.measure, _popular_courses.top,
    _popular_courses.confidence, _popular_courses.prior_weight, part.blocks, part.people,
    _popular_courses.smallest_group
  ) as popular
  order by part.is_other, part.value is null, part.value, popular.rank;
end;
$$;

alter function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
)
owner to insights_reader;

comment on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) is $$
Computes the result of `analytics.popular_courses`.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._popular_courses_shown(
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  confidence float8,
  prior_weight float8,
  breakdown text,
  top_values int
)
returns setof analytics.popular_course
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._popular_courses(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._popular_courses_shown(timestamptz, timestamptz, text, int, text, float8, float8, text, int)
owner to insights_reader;

comment on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the result of `analytics.popular_courses` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._popular_courses_shown(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst;

create or replace function analytics.popular_courses(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 10,
  among text default null,
  confidence float8 default 0.95,
  prior_weight float8 default 25,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.popular_course
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._popular_courses(timestamptz, timestamptz, text, int, text, float8, float8, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._popular_courses(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values, null
    );
  else
    return query
    select *
    from analytics._popular_courses_shown(
      popular_courses.since, popular_courses.until, popular_courses.measure, popular_courses.top,
      popular_courses.among, popular_courses.confidence, popular_courses.prior_weight, popular_courses.breakdown,
      popular_courses.top_values
    );
  end if;
end;
$$;

comment on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
) is $$
Returns the most popular courses: their use between two times (`until` exclusive), completion and ratings.
`measure` decides the order: `events` (frequency), `people` (distinct people), `engaged` (engaged time), `completion`
(Bayesian average of the completion rate), `completion_bound` (lower bound of the rate) or `rating` (Bayesian average of
the ratings). Courses that nobody used in the period are not listed; those without a value of the measure come last.
Use is that of `analytics.popular_items('course', …)`, to the unit: the period is extended to whole days, UTC.
Completion is that of all enrolments (`track.enrolment`), as of now, whatever the period: most enrolments of the last
weeks cannot be completed yet. A person counts once per course, and as completed when one of her enrolments is. The
bounds are those of Wilson's score interval (1927) with `confidence`. The Bayesian average is IMDb's weighted rating:
(enrolments * rate + `prior_weight` * rate of all courses) / (enrolments + `prior_weight`), so that a course with few
learners is near the average, and one with as many as `prior_weight` halfway between it and its own rate.
Ratings (`measure` = `rating`; otherwise null) are the latest `Course Rated` of each person and course, as of now,
numbers from 0 to 100; they are read from these events.
Only people in the set `counted` count. `among`: those of them in an expression of sets of people, such as
`segment.power & ~cohort.beta`; their use is then read from their journeys, and takes longer. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. Ranks and averages of all courses are those within the value.
For admins and workers, figures are exact. For analysts, days of small groups are left out as in
`analytics.popular_items`; numbers are rounded by `analytics._shown`, completions and enrolments each by themselves;
rates, bounds, averages and the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown set.
$$;

grant execute on function analytics.popular_courses(
  timestamptz, timestamptz, text, int, text, float8, float8, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/popular_courses.sql

--! Included analytics/functions/trending_items.sql
create or replace function analytics._trending_items_of(
  kind text,
  first_day date,
  end_day date,
  measure text,
  half_life interval,
  top int,
  people bigint[],
  bias float8,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_is_exact constant boolean := coalesce(_trending_items_of.smallest_group, 1) = 1;
  v_days constant int := end_day - first_day;
  v_half_life constant float8 := extract(epoch from half_life) / 86400;
  -- Periods of more than four half-lives ago would weigh less than a sixteenth.
  v_periods constant int := least(
    greatest(1, least(100, floor(4 * v_half_life / v_days))), (first_day - '0001-01-01'::date) / v_days
  );
begin
  return query
  with everyone as (
    select item_days.item_id, item_days.day, item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day, null
    ) as item_days
    where _trending_items_of.people is not null
      and not v_is_exact
  ),

  used as (
    -- Period 0 is the one of the question.
    select
      item_days.item_id,
      (_trending_items_of.end_day - 1 - item_days.day) / v_days as period,
      case _trending_items_of.measure
        when 'people' then item_days.person_count
        when 'events' then item_days.event_count
        else extract(epoch from item_days.engaged)
      end::float8 as measured,
      item_days.person_count
    from analytics._item_days(
      _trending_items_of.kind, _trending_items_of.end_day - v_days * (v_periods + 1), _trending_items_of.end_day,
      _trending_items_of.people
    ) as item_days
    left join everyone on everyone.item_id = item_days.item_id and everyone.day = item_days.day
    where item_days.person_count >= coalesce(_trending_items_of.smallest_group, 1)
      -- The others are a group too, or there are none.
      and (
        everyone.person_count is null
        or everyone.person_count - item_days.person_count not between 1 and _trending_items_of.smallest_group - 1
      )
  ),

  -- The people of the largest day are not more than those of the period: figures are rounded at least as much.
  measured as materialized (
    select
      by_period.item_id, by_period.period,
      case
        when v_is_exact then by_period.measured
        else analytics._shown(by_period.measured, by_period.person_count, _trending_items_of.smallest_group)
      end as measured,
      case
        when not v_is_exact
          then _trending_items_of.smallest_group
            * analytics._power_of_two(by_period.measured / by_period.person_count)
      end as unit
    from (
      select
        used.item_id, used.period,
        case
          when _trending_items_of.measure = 'engaged' then round(sum(used.measured)::numeric, 6)::float8
          else sum(used.measured)
        end as measured,
        max(used.person_count) as person_count
      from used
      group by used.item_id, used.period
    ) as by_period
  ),

  -- An earlier period weighs by its age and by the use of all items in it: the expected share of an item is the ratio
  -- of two decayed sums. Periods without any use, such as those before the first event, do not count.
  earlier as (
    select
      total.period,
      total.measured,
      0.5::float8 ^ (total.period * v_days / v_half_life) * total.measured as weight,
      recent.measured as recent_total
    from (
      select measured.period, sum(measured.measured) as measured from measured group by measured.period
    ) as total
    cross join (
      select sum(of_period.measured) as measured from measured as of_period where of_period.period = 0
    ) as recent
    where total.period > 0
      and total.measured > 0
  ),

  scaled as (
    select
      recent.item_id,
      recent.measured,
      recent.unit,
      earlier.weight,
      coalesce(own.measured, 0) / earlier.measured * earlier.recent_total as scaled
    from measured as recent
    cross join earlier
    left join measured as own on own.item_id = recent.item_id and own.period = earlier.period
    where recent.period = 0
      and recent.measured > 0
  ),

  estimated as (
    select
      scaled.*,
      sum(scaled.weight * scaled.scaled) over of_item / sum(scaled.weight) over of_item as expected
    from scaled
    window of_item as (partition by scaled.item_id)
  ),

  compared as (
    select
      estimated.item_id,
      estimated.measured,
      estimated.unit,
      estimated.expected,
      sum(estimated.weight * (estimated.scaled - estimated.expected) ^ 2) / sum(estimated.weight) as variance
    from estimated
    group by estimated.item_id, estimated.measured, estimated.unit, estimated.expected
  ),

  -- Rounded, because the last digits depend on the order of addition and would decide the order of equal items.
  scored as (
    select
      compared.item_id, compared.measured,
      round(compared.expected::numeric, 9)::float8 as expected,
      round(noise.deviation::numeric, 9)::float8 as deviation,
      round(
        ((compared.measured - greatest(compared.expected, noise.bias)) / (noise.deviation + noise.bias))::numeric, 9
      )::float8 as score
    from compared
    cross join lateral (
      select
        -- That of Poisson counts at least.
        sqrt(greatest(compared.variance, compared.expected)) as deviation,
        greatest(_trending_items_of.bias, compared.unit) as bias
    ) as noise
  )

  select
    (row_number() over by_score)::int,
    item.external_id,
    item.title,
    item.kind,
    scored.measured,
    scored.expected,
    scored.deviation,
    scored.measured / nullif(scored.expected, 0) - 1,
    scored.score,
    null::text,
    false
  from scored
  join track.item on item.item_id = scored.item_id
  where scored.score > 0
  window by_score as (order by scored.score desc, scored.measured desc, item.external_id)
  order by 1
  limit _trending_items_of.top;
end;
$$;

comment on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) is $$
Returns the trending items of some counted people, with the privileges of the caller: see `analytics.trending_items`.
`end_day` is exclusive. `people` null: all counted people.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items_of(
  text, date, date, text, interval, int, bigint[], float8, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._trending_items(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set extra_float_digits to 1
set jit to off
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _trending_items.since, _trending_items.until, 'UTC');
  v_days constant int := v_bounds[cardinality(v_bounds)]::date - v_bounds[1]::date;
begin
  if v_days > 366 then
    perform common.refuse('CF008', format('the period has %s days', v_days),
      'Give at most 366: it is compared with earlier periods of the same length.');
  end if;
  if _trending_items.measure is null or _trending_items.measure not in ('people', 'events', 'engaged') then
    perform common.refuse('CF001', format('measure is "%s"', left(_trending_items.measure, 100)),
      'Use people (people by day), events or engaged (engaged time).');
  end if;
  if _trending_items.half_life is null
    or not (_trending_items.half_life >= '1 day' and _trending_items.half_life <= '3660 days')
  then
    perform common.refuse('CF001', format('half_life is %s', coalesce(_trending_items.half_life::text, 'null')),
      'Give an interval from 1 to 3660 days, such as 28 days.');
  end if;
  if _trending_items.bias is null or not (_trending_items.bias between 1 and 1000000) then
    perform common.refuse('CF001', format('bias is %s', coalesce(_trending_items.bias::text, 'null')),
      'Give a number from 1 to 1000000: use below it is not significant.');
  end if;
  perform common.check_count('top', _trending_items.top, 1, 10000);
  if _trending_items.kind is not null
    and not exists (select from track.item where item.kind = _trending_items.kind)
  then
    perform common.refuse(
      'CF002',
      format('there is no item of kind "%s"', left(_trending_items.kind, 100)),
      coalesce(
        (select 'There are ' || string_agg(distinct item.kind, ', ') || '.' from track.item),
        'There are no items yet: send events, or run track.sync_items.'
      )
    );
  end if;

  return query
  select
    trending.rank, trending.item, trending.title, trending.kind, trending.measured, trending.expected,
    trending.deviation, trending.growth, trending.score, part.value, part.is_other
  from analytics._counted_groups(
    _trending_items.among, _trending_items.breakdown, _trending_items.top_values, _trending_items.smallest_group
  ) as part
  cross join lateral analytics._trending_items_of(
    _trending_items.kind, v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, _trending_items.measure,
    _trending_items.half_life, _trending_items.top,
    case when part.blocks is not null then analytics._people_of(part.blocks, part.people) end, _trending_items.bias,
    _trending_items.smallest_group
  ) as trending
  order by part.is_other, part.value is null, part.value, trending.rank;
end;
$$;

alter function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
)
owner to insights_reader;

comment on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) is $$
Computes the result of `analytics.trending_items`.
`smallest_group`: see `analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._trending_items_shown(
  kind text,
  since timestamptz,
  until timestamptz,
  measure text,
  half_life interval,
  top int,
  among text,
  bias float8,
  breakdown text,
  top_values int
)
returns setof analytics.trending_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._trending_items(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) owner to insights_reader;

comment on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the result of `analytics.trending_items` for analysts: figures of groups, rounded.
$$;

grant execute on function analytics._trending_items_shown(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst;

create or replace function analytics.trending_items(
  kind text default 'course',
  since timestamptz default (now() at time zone 'UTC' - interval '6 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  half_life interval default '28 days',
  top int default 10,
  among text default null,
  bias float8 default 5,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.trending_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._trending_items(text, timestamptz, timestamptz, text, interval, int, text, float8, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._trending_items(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values, null
    );
  else
    return query
    select *
    from analytics._trending_items_shown(
      trending_items.kind, trending_items.since, trending_items.until, trending_items.measure,
      trending_items.half_life, trending_items.top, trending_items.among, trending_items.bias,
      trending_items.breakdown, trending_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) is $$
Returns the items that are used more than expected between two times (`until` exclusive), most significant first.
The expectation is a mean of earlier periods of the same length, up to four half-lives back: the weight of a period is
halved per `half_life` of age. The method is SigniTrend (E. Schubert, M. Weiler, H.-P. Kriegel, KDD 2014): the score is
(measured - max(expected, `bias`)) / (deviation + `bias`), a number of standard deviations from an exponentially
weighted mean, in which `bias` keeps items of little use from being significant. What is compared is the share of an
item in the use of all items of its kind: in a holiday, at the start of a term, and on a day that has not ended, all
items have more or less use, and no item trends for that reason. The deviation is that of the earlier periods, and at
least that of Poisson counts.
`measure`: `people` (the distinct people of each day, added up: a person who is active on three days counts three
times, one who sends a thousand events does not), `events` or `engaged` (seconds). Use includes that of what an item
contains; `kind` null: the items themselves. The period is extended to whole days, UTC; use periods of whole weeks,
because items have other shares on weekends. Items with a score of 0 or less are not returned, and no item is when
there is no earlier period with use.
Only people in the set `counted` count; `among`: those of them in an expression of sets of people. `breakdown`:
`set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the
others have `is_other`. An item is then compared with the use by the same people, and ranks are those within the value.
The result includes every event that was stored when the function was called, and engaged times as of the last refresh.
It is read from the sums by item and day; with `among` or `breakdown`, and for kinds of items with parts other than
courses, from the journeys.
For admins and workers, figures are exact. For analysts, a day on which fewer than `analytics.setting.smallest_group`
people used an item is left out, with `among` or `breakdown` also one on which the others are fewer, figures are rounded
by `analytics._shown` (for the people of the largest day), and everything else is computed from them, with a `bias` of
at least one step of rounding.
Errors: CF001 for an invalid argument, CF002 for an unknown kind or set, CF008 for more than 366 days.
$$;

grant execute on function analytics.trending_items(
  text, timestamptz, timestamptz, text, interval, int, text, float8, text, int
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/trending_items.sql

--! Included analytics/functions/_feature_people.sql
create or replace function analytics._feature_people(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  previous_day date,
  observed_day date,
  return_days int,
  of_blocks int[],
  of_people bit(4096)[],
  smallest_group int
)
returns table (
  event_type_id int,
  item_kind text,
  block int,
  people bit(4096),
  earlier_people bit(4096),
  observed_people bit(4096),
  returned_people bit(4096),
  previous_people bit(4096),
  person_days bigint,
  event_count bigint,
  previous_event_count bigint,
  days date[],
  oldest_day date,
  latest_day date
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
-- The bits of a year are sorted in memory.
set work_mem to '64MB'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_of_all constant boolean := of_blocks is null;
  v_reads_journeys constant boolean := _feature_people.by_kind or not v_of_all;
  v_event_types constant int[] := array(
    select event_type.event_type_id
    from track.event_type
    where event_type.merged_event_type_id is null
      and case
        when _feature_people.of_event_type_id is null
          then not event_type.is_automatic and not event_type.is_heartbeat and event_type.purpose <> 'service'
        else event_type.event_type_id = _feature_people.of_event_type_id
      end
  );
  -- Type 0 is any event that is not automatic. By kind of item, the other types are read from the journeys.
  v_present_types constant int[] := 0 || case when _feature_people.by_kind then '{}' else v_event_types end;
  -- The people who count, by block: an array, because the planner cannot estimate a join.
  v_members constant bit(4096)[] := (
    select array_agg(coalesce(member.people, v_no_people) order by blocks.block)
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)) as blocks (block)
    left join (
      select listed.block, listed.people from unnest(of_blocks, of_people) as listed (block, people)
      union all
      select everyone.block, everyone.people
      from analytics._members(null, _feature_people.smallest_group) as everyone
      where v_of_all
    ) as member on member.block = blocks.block
  );
  -- The other people, whom analysts could know from the difference to all people; null: there are none.
  v_others constant bit(4096)[] := case
    when not v_of_all and smallest_group > 1 then (
      select array_agg(
        coalesce(counted.people & ~coalesce(v_members[blocks.block + 1], v_no_people), v_no_people)
        order by blocks.block
      )
      from generate_series(0, cardinality(v_members) - 1) as blocks (block)
      left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    )
  end;
  v_reads_others constant boolean := _feature_people.by_kind and v_others is not null;
  v_queued record;
  v_is_queued boolean;
  -- Whether the days before the two periods are read as they are stored, which is several times faster.
  v_reads_history_at_once boolean;
begin
  v_queued := track.queued_days('-infinity', _feature_people.end_day);
  v_is_queued := v_queued.people is not null;
  v_reads_history_at_once := _feature_people.smallest_group is null
    and not exists (
      select from unnest(v_queued.first_days) as queued_day where queued_day < _feature_people.previous_day
    );

  return query
  with excluded as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('excluded') as set_block
  ),

  counted as materialized (
    select set_block.block, set_block.people from track.person_set_blocks('counted') as set_block
  ),

  -- The changes of the next refresh.
  queued as (
    select
      typed.event_type_id, entry.person_id, entry.day, entry.was,
      case when entry.was then -typed.event_count else typed.event_count end as event_count
    from (
      select activity.*, true as was
      from track.stored_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
      union all
      select activity.*, false
      from track.event_activity(v_queued.people, v_queued.first_days, v_queued.end_days) as activity
    ) as entry
    cross join lateral (
      values (entry.event_type_id, entry.event_count), (0, entry.event_count - entry.automatic_count)
    ) as typed (event_type_id, event_count)
    where typed.event_count > 0
      and typed.event_type_id = any (v_present_types)
  ),

  change as materialized (
    select
      queued.event_type_id, queued.day, (queued.person_id / 4096)::int as block,
      coalesce(bit_or(track.person_bit(queued.person_id)) filter (where queued.was), v_no_people) as cleared,
      coalesce(
        bit_or(track.person_bit(queued.person_id)) filter (where not queued.was and queued.person_id <> 0), v_no_people
      ) as added,
      coalesce(sum(queued.event_count) filter (where not membership.is_excluded), 0) as event_count,
      coalesce(sum(queued.event_count) filter (where membership.is_counted), 0) as counted_count
    from queued
    left join excluded on excluded.block = queued.person_id / 4096
    left join counted on counted.block = queued.person_id / 4096
    left join track.person_set_block as stored_excluded
      on stored_excluded.name = 'excluded' and stored_excluded.block = queued.person_id / 4096
    left join track.person_set_block as stored_counted
      on stored_counted.name = 'counted' and stored_counted.block = queued.person_id / 4096
    cross join lateral (
      select
        coalesce(
          get_bit(
            case when queued.was then stored_excluded.people else excluded.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_excluded,
        coalesce(
          get_bit(
            case when queued.was then stored_counted.people else counted.people end, (queued.person_id % 4096)::int
          ),
          0
        ) <> 0 as is_counted
    ) as membership
    group by 1, 2, 3
  ),

  -- Numbers of events of some people, and events by kind of item, are in the journeys.
  journey as materialized (
    select
      activity.event_type_id,
      case when _feature_people.by_kind then coalesce(item.kind, '') else '' end as item_kind,
      activity.day, (activity.person_id / 4096)::int as block,
      case
        when _feature_people.by_kind
          then coalesce(
            bit_or(track.person_bit(activity.person_id)) filter (where activity.person_id <> 0), v_no_people
          )
        else v_no_people
      end as people,
      coalesce(
        sum(activity.event_count) filter (
          where not v_reads_others
            or get_bit(v_members[(activity.person_id / 4096)::int + 1], (activity.person_id % 4096)::int) <> 0
        ),
        0
      ) as event_count
    from track.activity_of(
      case
        when not v_of_all and not v_reads_others then analytics._people_of(of_blocks, of_people)
        else analytics._people_among(null, _feature_people.smallest_group)
          -- Anonymised events.
          || case when _feature_people.smallest_group is null then '{0}'::bigint[] end
      end,
      _feature_people.previous_day,
      _feature_people.end_day,
      v_event_types
    ) as activity
    left join track.item on item.item_id = activity.item_id
    where v_reads_journeys
    group by 1, 2, 3, 4
  ),

  -- Rows of the same feature, day and block add up. Not materialized: the bits of all days are large.
  cell as not materialized (
    select
      presence.event_type_id, '' as item_kind, presence.day, presence.block,
      presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_members[presence.block + 1], v_no_people)
        as people,
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then presence.counted_count
        else presence.event_count
      end as event_count,
      case
        when v_others is not null then bit_count(
          presence.people & ~coalesce(change.cleared, v_no_people) & coalesce(v_others[presence.block + 1], v_no_people)
        )
        else 0
      end as other_count
    from track.presence
    left join change
      on v_is_queued
      and change.event_type_id = presence.event_type_id
      and change.day = presence.day
      and change.block = presence.block
    where presence.event_type_id = any (v_present_types)
      and presence.day < _feature_people.end_day
      and (presence.event_type_id <> 0 or presence.day >= _feature_people.first_day)
      and (not v_reads_history_at_once or presence.day >= _feature_people.previous_day)

    union all

    select
      change.event_type_id, '', change.day, change.block,
      change.added & coalesce(v_members[change.block + 1], v_no_people),
      case
        when not v_of_all then 0
        when _feature_people.smallest_group is not null then change.counted_count
        else change.event_count
      end,
      bit_count(change.added & coalesce(v_others[change.block + 1], v_no_people))
    from change

    union all

    select
      journey.event_type_id, journey.item_kind, journey.day, journey.block,
      journey.people & coalesce(v_members[journey.block + 1], v_no_people), journey.event_count,
      bit_count(journey.people & coalesce(v_others[journey.block + 1], v_no_people))
    from journey
  ),

  history as (
    select presence.event_type_id, presence.block, bit_or(presence.people) as people
    from track.presence
    where v_reads_history_at_once
      and presence.event_type_id = any (v_present_types)
      and presence.event_type_id <> 0
      and presence.day < _feature_people.previous_day
    group by presence.event_type_id, presence.block
  ),

  history_days as (
    select
      feature.event_type_id,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day
        limit 1
      ) as oldest_day,
      (
        select presence.day
        from track.presence
        where presence.event_type_id = feature.event_type_id
          and presence.day < _feature_people.previous_day
          and presence.people & coalesce(v_members[presence.block + 1], v_no_people) <> v_no_people
        order by presence.day desc
        limit 1
      ) as latest_day
    from unnest(v_event_types) as feature (event_type_id)
    where v_reads_history_at_once
      and not _feature_people.by_kind
  ),

  -- Days on which the others are few are hidden, and not in their weeks either.
  small_day as materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, date_trunc('week', cell.day::timestamp)::date as week,
      sum(cell.other_count) between 1 and _feature_people.smallest_group - 1 as is_hidden
    from cell
    where _feature_people.smallest_group is not null
    group by cell.event_type_id, cell.item_kind, cell.day
    having sum(bit_count(cell.people)) < _feature_people.smallest_group
      or sum(cell.other_count) between 1 and _feature_people.smallest_group - 1
  ),

  -- Weeks (from Monday) whose small days have enough people together. They count in periods that contain them.
  week_of_group as materialized (
    select by_block.event_type_id, by_block.item_kind, by_block.week
    from (
      select cell.event_type_id, cell.item_kind, small_day.week, cell.block, bit_or(cell.people) as people
      from small_day
      join cell using (event_type_id, item_kind, day)
      where not small_day.is_hidden
      group by cell.event_type_id, cell.item_kind, small_day.week, cell.block
    ) as by_block
    group by by_block.event_type_id, by_block.item_kind, by_block.week
    having sum(bit_count(by_block.people)) >= _feature_people.smallest_group
  ),

  placed as not materialized (
    select
      cell.event_type_id, cell.item_kind, cell.day, cell.block, cell.people, cell.event_count,
      small_day.day is null as is_large,
      cell.day >= _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.first_day
            and week_of_group.week + 7 <= _feature_people.end_day
        ) as in_period,
      cell.day >= _feature_people.previous_day
        and cell.day < _feature_people.first_day
        and (
          small_day.day is null
          or week_of_group.week >= _feature_people.previous_day
            and week_of_group.week + 7 <= _feature_people.first_day
        ) as in_previous,
      cell.day < _feature_people.first_day
        and (small_day.day is null or week_of_group.week + 7 <= _feature_people.first_day) as is_before
    from cell
    left join small_day
      on small_day.event_type_id = cell.event_type_id
      and small_day.item_kind = cell.item_kind
      and small_day.day = cell.day
    left join week_of_group
      on week_of_group.event_type_id = small_day.event_type_id
      and week_of_group.item_kind = small_day.item_kind
      and week_of_group.week = small_day.week
      and not small_day.is_hidden
  ),

  returned as (
    select
      in_order.event_type_id, in_order.item_kind, in_order.block, bit_or(in_order.people & in_order.earlier) as people
    from (
      select
        placed.event_type_id, placed.item_kind, placed.block, placed.people,
        bit_or(placed.people) over (
          partition by placed.event_type_id, placed.item_kind, placed.block
          order by placed.day
          range between unbounded preceding and make_interval(days => _feature_people.return_days) preceding
        ) as earlier
      from placed
      where placed.day >= _feature_people.first_day
        and placed.in_period
        and placed.event_type_id <> 0
    ) as in_order
    group by in_order.event_type_id, in_order.item_kind, in_order.block
  ),

  by_block as (
    select
      placed.event_type_id, placed.item_kind, placed.block,
      coalesce(bit_or(placed.people) filter (where placed.in_period), v_no_people) as people,
      coalesce(bit_or(placed.people) filter (where placed.is_before), v_no_people) as earlier_people,
      coalesce(
        bit_or(placed.people) filter (where placed.in_period and placed.day <= _feature_people.observed_day),
        v_no_people
      ) as observed_people,
      coalesce(bit_or(placed.people) filter (where placed.in_previous), v_no_people) as previous_people,
      coalesce(sum(bit_count(placed.people)) filter (where placed.in_period), 0)::bigint as person_days,
      coalesce(sum(placed.event_count) filter (where placed.in_period), 0)::bigint as event_count,
      coalesce(sum(placed.event_count) filter (where placed.in_previous), 0)::bigint as previous_event_count,
      array_agg(placed.day) filter (where placed.in_period) as days,
      min(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as oldest_day,
      max(placed.day) filter (where placed.is_large and placed.people <> v_no_people) as latest_day
    from placed
    group by placed.event_type_id, placed.item_kind, placed.block
  )

  select
    by_block.event_type_id,
    nullif(by_block.item_kind, ''),
    by_block.block,
    by_block.people,
    by_block.earlier_people | coalesce(history.people, v_no_people),
    by_block.observed_people,
    coalesce(returned.people, v_no_people),
    by_block.previous_people,
    by_block.person_days,
    by_block.event_count,
    by_block.previous_event_count,
    by_block.days,
    least(by_block.oldest_day, history_days.oldest_day),
    greatest(by_block.latest_day, history_days.latest_day)
  from by_block
  left join returned using (event_type_id, item_kind, block)
  left join history on history.event_type_id = by_block.event_type_id and history.block = by_block.block
  left join history_days on history_days.event_type_id = by_block.event_type_id;
end;
$$;

comment on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) is $$
Returns the people and events of event types in a period, one row per block of 4,096 people, as of now.
Event types are those that people cause by an action, or the one of `of_event_type_id`, and type 0: any event that is
not automatic. Days are UTC; the period is from `first_day` until `end_day` (exclusive), the one before it begins with
`previous_day`. `people`: in the period; `earlier_people`: on any day before it; `observed_people`: in the period
until `observed_day`; `returned_people`: in the period, and again at least `return_days` days later;
`previous_people`: in the period before. `earlier_people` may have bits of people who do not count. `days`: the days
of the period that count. `oldest_day` and `latest_day`: of all days before `end_day`.
`by_kind`: by kind of item, type 0 without kinds, and nothing before `previous_day`.
`of_blocks`, `of_people`: people who are not excluded, one bit per person; null: all of them, of whom only counted ones
with a `smallest_group`. With one, small days are left out as in `analytics._trend_of_groups`, in each of the periods
by itself, and so are days on which the other counted people are few.
$$;

grant execute on function analytics._feature_people(
  int, boolean, date, date, date, date, int, int[], bit[], int
) to insights_reader;
--! EndIncluded analytics/functions/_feature_people.sql

--! Included analytics/functions/feature_usage.sql
create or replace function analytics._feature_usage_of(
  of_event_type_id int,
  by_kind boolean,
  first_day date,
  end_day date,
  measure text,
  top int,
  blocks int[],
  people bit(4096)[],
  return_days int,
  with_median boolean,
  smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  -- The period before, of the same length.
  v_previous_day constant date := first_day - least(end_day - first_day, first_day - '0001-01-01'::date);
  -- The last day of the period until now.
  v_last_day constant date := least(end_day, now()::date + 1) - 1;
begin
  return query
  with used as materialized (
    select kernel.*, coalesce(kernel.item_kind, '') as kind
    from analytics._feature_people(
      _feature_usage_of.of_event_type_id, _feature_usage_of.by_kind, _feature_usage_of.first_day,
      _feature_usage_of.end_day, v_previous_day, v_last_day - _feature_usage_of.return_days,
      _feature_usage_of.return_days, _feature_usage_of.blocks, _feature_usage_of.people,
      _feature_usage_of.smallest_group
    ) as kernel
  ),

  by_feature as (
    select
      used.event_type_id, used.kind,
      sum(bit_count(used.people))::bigint as people,
      sum(bit_count(used.people & ~used.earlier_people))::bigint as new_people,
      sum(bit_count(used.observed_people))::bigint as observed_people,
      sum(bit_count(used.returned_people))::bigint as returned_people,
      sum(bit_count(used.previous_people))::bigint as previous_people,
      sum(used.person_days)::float8 as person_days,
      sum(used.event_count)::float8 as event_count,
      sum(used.previous_event_count)::float8 as previous_event_count,
      min(used.oldest_day) as first_day,
      max(used.latest_day) as last_day
    from used
    group by used.event_type_id, used.kind
  ),

  middle as (
    select
      by_person.event_type_id, by_person.kind,
      percentile_cont(0.5) within group (order by by_person.event_count::float8) as median_events,
      avg(by_person.event_count)::float8 as mean_events
    from (
      select
        activity.event_type_id, described.kind, activity.person_id, sum(activity.event_count) as event_count
      from track.activity_of(
        case
          when _feature_usage_of.blocks is null
            then analytics._people_among(null, _feature_usage_of.smallest_group)
          else analytics._people_of(_feature_usage_of.blocks, _feature_usage_of.people)
        end,
        _feature_usage_of.first_day, _feature_usage_of.end_day,
        array(select distinct used.event_type_id from used)
      ) as activity
      left join track.item on item.item_id = activity.item_id
      cross join lateral (
        select case when _feature_usage_of.by_kind then coalesce(item.kind, '') else '' end as kind
      ) as described
      join (
        select distinct used.event_type_id, used.kind, day
        from used
        cross join lateral unnest(used.days) as day
      ) as kept
        on kept.event_type_id = activity.event_type_id
        and kept.kind = described.kind
        and kept.day = activity.day
      where _feature_usage_of.with_median
      group by activity.event_type_id, described.kind, activity.person_id
    ) as by_person
    group by by_person.event_type_id, by_person.kind
  ),

  shown as (
    select
      by_feature.event_type_id, by_feature.kind,
      analytics._shown(by_feature.event_count, by_feature.people, _feature_usage_of.smallest_group)::bigint
        as event_count,
      analytics._shown(by_feature.people, by_feature.people, _feature_usage_of.smallest_group)::bigint as person_count,
      analytics._shown(by_feature.person_days, by_feature.people, _feature_usage_of.smallest_group)
        as person_days,
      analytics._shown_mean(
        middle.median_events, by_feature.people, _feature_usage_of.smallest_group, middle.mean_events
      ) as median_events,
      case
        when not _feature_usage_of.by_kind
          then analytics._shown(by_feature.new_people, by_feature.new_people, _feature_usage_of.smallest_group)::bigint
      end as new_person_count,
      analytics._shown(
        by_feature.observed_people, by_feature.observed_people, _feature_usage_of.smallest_group
      )::bigint as observed_person_count,
      analytics._shown(
        by_feature.returned_people, by_feature.returned_people, _feature_usage_of.smallest_group
      )::bigint as returned_person_count,
      analytics._shown(
        by_feature.previous_event_count, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_event_count,
      analytics._shown(
        by_feature.previous_people, by_feature.previous_people, _feature_usage_of.smallest_group
      )::bigint as previous_person_count,
      case when not _feature_usage_of.by_kind then by_feature.first_day end as first_day,
      by_feature.last_day
    from by_feature
    left join middle using (event_type_id, kind)
  ),

  -- Rates and means are computed from the numbers as shown, and the order from these.
  computed as (
    select
      event_type.name as event,
      nullif(shown.kind, '') as item_kind,
      shown.event_count,
      shown.person_count,
      coalesce(active.person_count, 0) as active_person_count,
      least(1, shown.person_count::float8 / nullif(active.person_count, 0)) as adoption_rate,
      shown.new_person_count,
      shown.event_count::float8 / nullif(shown.person_count, 0) as events_per_person,
      shown.median_events,
      shown.person_days / nullif(shown.person_count, 0) as days_per_person,
      shown.observed_person_count,
      shown.returned_person_count,
      shown.returned_person_count::float8 / nullif(shown.observed_person_count, 0) as return_rate,
      shown.previous_event_count,
      shown.previous_person_count,
      shown.event_count::float8 / nullif(shown.previous_event_count, 0) - 1 as event_growth,
      shown.person_count::float8 / nullif(shown.previous_person_count, 0) - 1 as person_growth,
      shown.first_day,
      shown.last_day
    from shown
    join track.event_type on event_type.event_type_id = shown.event_type_id
    left join shown as active on active.event_type_id = 0
    where shown.event_count > 0
      or shown.person_count > 0
      or shown.previous_event_count > 0
      or shown.previous_person_count > 0
  )

  select
    (row_number() over by_score)::int,
    computed.*,
    null::text,
    false
  from computed
  cross join lateral (
    select case _feature_usage_of.measure
      when 'people' then computed.person_count
      when 'events' then computed.event_count
      when 'days' then computed.days_per_person
      when 'new' then computed.new_person_count
      when 'return' then computed.return_rate
      when 'growth' then computed.person_growth
    end as score
  ) as by_measure
  window by_score as (
    order by
      by_measure.score desc nulls last, computed.person_count desc, computed.event_count desc, computed.event,
      computed.item_kind nulls first
  )
  order by 1
  limit _feature_usage_of.top;
end;
$$;

comment on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) is $$
Returns how some people use each feature, with the privileges of the caller: see `analytics.feature_usage`.
`of_event_type_id`: only this event type; null: all. `by_kind`: by kind of the item. `end_day` is exclusive.
`blocks`, `people`: people who are not excluded, one bit per person; null: all of them.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage_of(
  int, boolean, date, date, text, int, int[], bit[], int, boolean, int
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._feature_usage(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int,
  smallest_group int
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
as $$
declare
  v_event_type_id constant int := nullif(analytics._event_type_id(_feature_usage.event_name), 0);
  -- Whole days, so that two periods differ by a day at least.
  v_bounds constant timestamptz[] := analytics._bounds('day', _feature_usage.since, _feature_usage.until, 'UTC');
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _feature_usage.breakdown !~ '^(kind$|set\.|trait\.)' then
    perform common.refuse(
      'CF001',
      format('breakdown is "%s"', left(_feature_usage.breakdown, 100)),
      'Use kind (of the item of the event), set.<family or name of sets of people> or trait.<name>.'
    );
  end if;
  if _feature_usage.measure is null
    or _feature_usage.measure not in ('people', 'events', 'days', 'new', 'return', 'growth')
  then
    perform common.refuse('CF001', format('measure is "%s"', left(_feature_usage.measure, 100)),
      'Use people, events, days (days per person), new (new people), return (return rate) or growth (of people).');
  end if;
  perform common.check_count('top', _feature_usage.top, 1, 10000);
  perform common.check_count('return_days', _feature_usage.return_days, 1, 366);
  if _feature_usage.with_median is null then
    perform common.refuse('CF001', 'with_median is null', 'Use true or false.');
  end if;
  if among is not null or breakdown <> 'kind' then
    select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
    from analytics._members(_feature_usage.among, _feature_usage.smallest_group) as member;
  end if;

  return query
  select
    feature.rank, feature.event, feature.item_kind, feature.event_count, feature.person_count,
    feature.active_person_count, feature.adoption_rate, feature.new_person_count, feature.events_per_person,
    feature.median_events, feature.days_per_person, feature.observed_person_count, feature.returned_person_count,
    feature.return_rate, feature.previous_event_count, feature.previous_person_count, feature.event_growth,
    feature.person_growth, feature.first_day, feature.last_day, part.value, part.is_other
  from analytics._people_groups(
    nullif(_feature_usage.breakdown, 'kind'), _feature_usage.top_values, _feature_usage.smallest_group, v_blocks,
    v_people
  ) as part
  cross join lateral analytics._feature_usage_of(
    v_event_type_id, coalesce(_feature_usage.breakdown = 'kind', false), v_bounds[1]::date,
    v_bounds[cardinality(v_bounds)]::date, _feature_usage.measure, _feature_usage.top, part.blocks, part.people,
    _feature_usage.return_days, _feature_usage.with_median, _feature_usage.smallest_group
  ) as feature
  order by part.is_other, part.value is null, part.value, feature.rank;
end;
$$;

alter function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
)
owner to insights_reader;

comment on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) is $$
Computes the result of `analytics.feature_usage`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all people.
$$;

grant execute on function analytics._feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._feature_usage_shown(
  event_name text,
  breakdown text,
  since timestamptz,
  until timestamptz,
  measure text,
  top int,
  among text,
  return_days int,
  with_median boolean,
  top_values int
)
returns setof analytics.used_feature
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._feature_usage(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) owner to insights_reader;

comment on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns the result of `analytics.feature_usage` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._feature_usage_shown(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst;

create or replace function analytics.feature_usage(
  event_name text default null,
  breakdown text default null,
  since timestamptz default (now() at time zone 'UTC' - interval '27 days') at time zone 'UTC',
  until timestamptz default now(),
  measure text default 'people',
  top int default 50,
  among text default null,
  return_days int default 7,
  with_median boolean default false,
  top_values int default 10
)
returns setof analytics.used_feature
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._feature_usage(text, text, timestamptz, timestamptz, text, int, text, int, boolean, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._feature_usage(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values, null
    );
  else
    return query
    select *
    from analytics._feature_usage_shown(
      feature_usage.event_name, feature_usage.breakdown, feature_usage.since, feature_usage.until,
      feature_usage.measure, feature_usage.top, feature_usage.among, feature_usage.return_days,
      feature_usage.with_median, feature_usage.top_values
    );
  end if;
end;
$$;

comment on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) is $$
Returns how each feature is used between two times (`until` exclusive): how often, by whom, how deeply, its adoption.
Features are event types, without heartbeats, automatic events and those of the purpose `service`; with `event_name`,
this event type, whatever it is. `breakdown` = `kind`: actions, which are event types by kind of the item (a page that
is viewed and a course that is viewed); null as a kind: events without an item. `breakdown` = `set.<family>` or
`trait.<name>`, as of now: the result for the people of each value, of at most `top_values`; the others have `is_other`,
and ranks and active people are those within the value. Features that were used neither in the
period nor in the one before it are not listed.
- How often and by whom: events, distinct people, and the share of the active people (those with any event that is not
  automatic) who used the feature: `adoption_rate`.
- How deeply: events per person, days per person, and with `with_median` the median of the events per person.
- Adoption: `new_person_count` are the people who never used the feature before the period.
- Return: of the people who used it at least `return_days` days before the end of the period (or now), those who used it
  again `return_days` days or more after their first use in the period: `return_rate`. Later users are left out, because
  they could not return yet.
- Trend: the period before, of the same length, and the growth since then (0.5: half as much again).
- `first_day` and `last_day`: days of the first and the last use before `until`.
`measure` decides the order: `people`, `events`, `days` (per person), `new`, `return` (rate) or `growth` (of people).
The period is extended to whole days, UTC. `among`: only people in an expression of sets of people.
People are read from the bits of `track.presence`, those of all earlier days too, and include every event that was
stored when the function was called. `among`, `breakdown` and `with_median` read the journeys of the period and of the
one before it, which takes longer; with `breakdown` = `kind`, new people and the first day are null, and the last day is
one of these periods.
For admins and workers, figures are exact and include anonymous browsers, as those of `analytics.trend`. Analysts see
figures of counted people: the days on which fewer than `analytics.setting.smallest_group` of them used a feature count
with the other small days of their week (from Monday), where a period contains the whole week and they have at least as
many people together, and otherwise not, as use before the period neither; with `among` or a breakdown by people, days
on which the others are few do not count; numbers are rounded by `analytics._shown`, each by itself; rates, means and
the order are computed from what is shown.
Errors: CF001 for an invalid argument, CF002 for an unknown event or set (with the nearest name), CF008 for more
than 10,000 days.
$$;

grant execute on function analytics.feature_usage(
  text, text, timestamptz, timestamptz, text, int, text, int, boolean, int
) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/feature_usage.sql

--! Included analytics/functions/_learner_features.sql
/*
 * The single definition of the features of a learner as of a time, used by training and prediction. Whole days are read
 * from the rollup, or from the events where they are queued for a refresh, and the hours since the last midnight from
 * the events. Each part is limited to rows before the time; `known_at` is the time of the latest row used. Seconds and
 * gaps are summed as numeric and int, so that the result does not depend on the order of the rows.
 */
create or replace function analytics._learner_features(moments timestamptz[], courses bigint[] default null)
returns setof analytics.learner_features
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the filters.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'analytics'
  );
begin
  return query
  with moment as materialized (
    select distinct
      entry.as_of,
      date_trunc('day', entry.as_of at time zone 'UTC') at time zone 'UTC' as midnight,
      (entry.as_of at time zone 'UTC')::date as today
    from unnest(_learner_features.moments) as entry (as_of)
  ),

  -- The items of each course, including the course itself.
  part as materialized (
    select course.item_id as course_id, item.item_id, item.kind, item.due_at, course.available_until
    from track.item as course
    join track.item_ancestor as ancestor on ancestor.ancestor_item_id = course.item_id
    join track.item on item.item_id = ancestor.item_id
    where course.kind = 'course'
      and (_learner_features.courses is null or course.item_id = any (_learner_features.courses))
  ),

  size as (
    select
      part.course_id,
      max(part.available_until) as available_until,
      count(*) filter (where part.kind not in ('course', 'module'))::float8 as items,
      count(*) filter (where part.kind = 'task')::float8 as tasks
    from part
    group by part.course_id
  ),

  -- Learners of a course at a time: enrolled earlier, not completed or dropped by then, and not opted out of analytics.
  taker as materialized (
    select enrolled.person_id, enrolled.course_id, enrolled.enrolled_at, moment.as_of, moment.midnight, moment.today
    from (
      select
        enrolment.person_id,
        enrolment.item_id as course_id,
        min(enrolment.enrolled_at) as enrolled_at,
        case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
      from track.enrolment
      join size on size.course_id = enrolment.item_id
      where enrolment.person_id <> 0
        -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
        and v_by_default <> (
          enrolment.person_id in (
            select decision.person_id
            from privacy.latest_decisions('analytics') as decision
            where decision.granted <> v_by_default
          )
        )
        and enrolment.person_id not in (select privacy.restricted())
      group by enrolment.person_id, enrolment.item_id
    ) as enrolled
    join moment
      on enrolled.enrolled_at < moment.as_of
      and (enrolled.ended_at is null or enrolled.ended_at >= moment.as_of)
  ),

  person as materialized (
    select distinct taker.person_id from taker
  ),

  activity as materialized (
    select happened.*
    from track.activity_of(
      array(select person.person_id from person),
      '-infinity',
      (select max(moment.today) from moment),
      -- Of some courses only what is in them: it is a small part of what their learners do.
      of_items => case when _learner_features.courses is not null then array(select part.item_id from part) end
    ) as happened
  ),

  day_of_item as materialized (
    select
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at,
      sum(happened.event_count - happened.automatic_count)::float8 as events,
      sum(extract(epoch from happened.engaged)) as seconds,
      bool_or(happened.event_type_id in (
        select coalesce(submission.merged_event_type_id, submission.event_type_id)
        from track.event_type as submission
        where submission.name in ('Task Submitted', 'Task Completed')
      )) as submitted,
      -- A grade by a teacher, or another automatic event, is not an activity of the learner.
      bool_or(happened.event_count > happened.automatic_count or happened.engaged > '0') as is_active
    from (
      select part.course_id, part.kind, part.due_at, activity.*
      from part
      join activity on activity.item_id = part.item_id
    ) as happened
    group by
      happened.course_id, happened.person_id, happened.item_id, happened.day, happened.kind, happened.due_at
  ),

  day_of_course as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.day,
      sum(day_of_item.events) as events,
      sum(day_of_item.seconds) as seconds
    from day_of_item
    where day_of_item.is_active
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.day
  ),

  viewed_today as materialized (
    select
      page_view.person_id, watched.as_of, page_view.event_id, page_view.item_id, page_view.ended_at,
      page_view.engaged, page_view.is_continued
    from (select distinct taker.person_id, taker.as_of, taker.midnight from taker) as watched
    join track.page_view
      on page_view.person_id = watched.person_id
      and page_view.session_ended_at >= watched.midnight
      and page_view.session_ended_at < watched.as_of
      and page_view.started_at >= watched.midnight
    where watched.midnight < watched.as_of
  ),

  -- Since the last midnight: events of the learner, and page views of earlier sessions that were continued.
  today as (
    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      1 as events,
      extract(epoch from opened.engaged) as seconds,
      event.occurred_at as known_at
    from taker
    join track.event
      on event.person_id = taker.person_id
      and event.occurred_at >= taker.midnight
      and event.occurred_at < taker.as_of
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join part on part.item_id = event.item_id and part.course_id = taker.course_id
    left join viewed_today as opened
      on opened.person_id = event.person_id
      and opened.as_of = taker.as_of
      and opened.event_id = event.event_id
      and not opened.is_continued
    where taker.midnight < taker.as_of

    union all

    select
      taker.person_id, taker.course_id, taker.as_of, taker.today,
      0,
      extract(epoch from viewed_today.engaged),
      viewed_today.ended_at
    from taker
    join viewed_today
      on viewed_today.is_continued
      and viewed_today.person_id = taker.person_id
      and viewed_today.as_of = taker.as_of
    join part on part.item_id = viewed_today.item_id and part.course_id = taker.course_id
  ),

  active_day as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      taker.today - day_of_course.day as age,
      day_of_course.day,
      day_of_course.events,
      day_of_course.seconds,
      (day_of_course.day + 1)::timestamp at time zone 'UTC' as known_at
    from taker
    join day_of_course
      on day_of_course.person_id = taker.person_id
      and day_of_course.course_id = taker.course_id
      and day_of_course.day < taker.today

    union all

    select
      today.person_id, today.course_id, today.as_of,
      0,
      today.today,
      sum(today.events)::float8,
      coalesce(sum(today.seconds), 0),
      max(today.known_at)
    from today
    group by today.person_id, today.course_id, today.as_of, today.today
  ),

  -- The engaged time of a session is known at its end. The rollup already contains that of sessions in progress at the
  -- time, so it is subtracted.
  unfinished as (
    select taker.person_id, taker.course_id, taker.as_of, sum(extract(epoch from page_view.engaged)) as seconds
    from taker
    join track.page_view
      on page_view.person_id = taker.person_id
      and page_view.session_started_at >= taker.as_of - interval '168 hours'
      and page_view.session_started_at < taker.midnight
      and page_view.session_ended_at >= taker.as_of
      and page_view.started_at < taker.midnight
    join part on part.item_id = page_view.item_id and part.course_id = taker.course_id
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  active as (
    select
      stepped.person_id, stepped.course_id, stepped.as_of,
      max(stepped.known_at) as known_at,
      min(stepped.age) as days_idle,
      count(*) as active_days,
      count(*) filter (where stepped.age between 1 and 7) as active_days_week_1,
      count(*) filter (where stepped.age between 8 and 14) as active_days_week_2,
      count(*) filter (where stepped.age between 15 and 21) as active_days_week_3,
      count(*) filter (where stepped.age between 22 and 28) as active_days_week_4,
      sum(stepped.events) as events,
      coalesce(sum(stepped.events) filter (where stepped.age between 1 and 7), 0) as events_week_1,
      coalesce(sum(stepped.events) filter (where stepped.age between 8 and 14), 0) as events_week_2,
      sum(stepped.seconds) as seconds,
      coalesce(sum(stepped.seconds) filter (where stepped.age between 1 and 7), 0) as seconds_week_1,
      avg(stepped.gap) as mean_gap,
      stddev_pop(stepped.gap) as gap_deviation,
      max(stepped.gap) as longest_gap
    from (
      select active_day.*, (active_day.day - lag(active_day.day) over by_day) as gap
      from active_day
      window by_day as (
        partition by active_day.person_id, active_day.course_id, active_day.as_of
        order by active_day.day
      )
    ) as stepped
    group by stepped.person_id, stepped.course_id, stepped.as_of
  ),

  -- Breadth and lateness, as of the last midnight.
  used as materialized (
    select
      day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at,
      min(day_of_item.day) as day,
      min(day_of_item.day) filter (where day_of_item.submitted) as submitted_day
    from day_of_item
    where day_of_item.kind not in ('course', 'module')
      and (day_of_item.is_active or day_of_item.submitted)
    group by day_of_item.course_id, day_of_item.person_id, day_of_item.item_id, day_of_item.kind, day_of_item.due_at
  ),

  breadth as (
    select
      taker.person_id, taker.course_id, taker.as_of,
      count(*) as items,
      count(*) filter (where used.kind = 'task' and used.submitted_day < taker.today) as tasks,
      count(*) filter (
        where used.kind = 'task' and used.submitted_day < taker.today and used.due_at < taker.midnight
      ) as due_tasks,
      avg(used.submitted_day - (used.due_at at time zone 'UTC')::date)
        filter (where used.kind = 'task' and used.submitted_day < taker.today) as days_late
    from taker
    join used
      on used.person_id = taker.person_id
      and used.course_id = taker.course_id
      and used.day < taker.today
    group by taker.person_id, taker.course_id, taker.as_of
  ),

  due as (
    select part.course_id, moment.as_of, count(*)::float8 as tasks
    from moment
    join part on part.kind = 'task' and part.due_at < moment.midnight
    group by part.course_id, moment.as_of
  ),

  learner as materialized (
    select distinct taker.person_id, taker.as_of, taker.today
    from taker
  ),

  -- The days of the last week on which people were active anywhere.
  active_anywhere as (
    select activity.person_id, activity.day
    from activity
    where _learner_features.courses is null
      and (activity.event_count > activity.automatic_count or activity.engaged > '0')

    union all

    select happened.person_id, happened.day
    from track.activity_of(
      array(select person.person_id from person),
      (select min(moment.today) - 7 from moment),
      (select max(moment.today) from moment)
    ) as happened
    where _learner_features.courses is not null
      and (happened.event_count > happened.automatic_count or happened.engaged > '0')
  ),

  anywhere as (
    select learner.person_id, learner.as_of, count(distinct active_anywhere.day) as active_days
    from learner
    join active_anywhere
      on active_anywhere.person_id = learner.person_id
      and active_anywhere.day >= learner.today - 7
      and active_anywhere.day < learner.today
    group by learner.person_id, learner.as_of
  )

  select
    taker.person_id,
    taker.course_id,
    taker.as_of,
    greatest(taker.enrolled_at, active.known_at),
    extract(epoch from taker.as_of - taker.enrolled_at)::float8 / 86400,
    coalesce(active.days_idle, extract(epoch from taker.as_of - taker.enrolled_at) / 86400)::float8,
    coalesce(active.active_days, 0)::float8,
    coalesce(active.active_days_week_1, 0)::float8,
    coalesce(active.active_days_week_2, 0)::float8,
    coalesce(active.active_days_week_3, 0)::float8,
    coalesce(active.active_days_week_4, 0)::float8,
    coalesce(active.events, 0),
    coalesce(active.events_week_1, 0),
    coalesce(active.events_week_2, 0),
    greatest(coalesce(active.seconds, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    greatest(coalesce(active.seconds_week_1, 0) - coalesce(unfinished.seconds, 0), 0)::float8 / 60,
    active.mean_gap::float8,
    active.gap_deviation::float8,
    active.longest_gap::float8,
    coalesce(breadth.items, 0) / nullif(size.items, 0),
    coalesce(breadth.tasks, 0) / nullif(size.tasks, 0),
    greatest(coalesce(due.tasks, 0) - coalesce(breadth.due_tasks, 0), 0),
    breadth.days_late::float8,
    coalesce(anywhere.active_days, 0)::float8,
    coalesce(
      avg((coalesce(active.active_days_week_1, 0) > 0)::int::float8)
        filter (where get_bit(counted.people, (taker.person_id % 4096)::int) <> 0)
        over (partition by taker.course_id, taker.as_of),
      0
    ),
    extract(epoch from size.available_until - taker.as_of)::float8 / 86400
  from taker
  join size on size.course_id = taker.course_id
  left join active
    on active.person_id = taker.person_id
    and active.course_id = taker.course_id
    and active.as_of = taker.as_of
  left join unfinished
    on unfinished.person_id = taker.person_id
    and unfinished.course_id = taker.course_id
    and unfinished.as_of = taker.as_of
  left join breadth
    on breadth.person_id = taker.person_id
    and breadth.course_id = taker.course_id
    and breadth.as_of = taker.as_of
  left join due on due.course_id = taker.course_id and due.as_of = taker.as_of
  left join anywhere on anywhere.person_id = taker.person_id and anywhere.as_of = taker.as_of
  left join track.person_set_block as counted on counted.name = 'counted' and counted.block = taker.person_id / 4096;
end;
$$;

comment on function analytics._learner_features(timestamptz[], bigint[]) is $$
Returns the learners who take a course at each of the given times, with their features.
One row per learner, course and time. Events after the time are not used. `courses` null: all courses. People who have
opted out of the purpose `analytics` are excluded. Engaged times are as of the last refresh of the sessions.
$$;

grant execute on function analytics._learner_features(timestamptz[], bigint[]) to insights_reader, insights_admin;
--! EndIncluded analytics/functions/_learner_features.sql

--! Included analytics/functions/course_outlook.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._course_outlook(target text, as_of timestamptz, smallest_group int)
returns setof analytics.course_outlook
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
begin
  return query
  with predicted as (
    select
      item.external_id,
      item.title,
      count(*) as person_count,
      avg(scored.score) as mean_score,
      percentile_cont(0.25) within group (order by scored.score) as lower_quartile,
      percentile_cont(0.75) within group (order by scored.score) as upper_quartile
    from analytics._learner_scores(_course_outlook.target, _course_outlook.as_of) as scored
    join track.item on item.item_id = scored.course_id
    where _course_outlook.smallest_group is null or track.is_in_person_set('counted', scored.person_id)
    group by item.item_id, item.external_id, item.title
    having count(*) >= coalesce(_course_outlook.smallest_group, 1)
  ),

  shown as (
    select
      predicted.external_id,
      predicted.title,
      analytics._shown(predicted.person_count, predicted.person_count, _course_outlook.smallest_group)::bigint
        as person_count,
      analytics._shown_mean(predicted.mean_score, predicted.person_count, _course_outlook.smallest_group)
        as mean_score,
      quartile.lower_quartile,
      quartile.upper_quartile
    from predicted
    cross join lateral (
      select
        analytics._shown_mean(
          predicted.lower_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as lower_quartile,
        analytics._shown_mean(
          predicted.upper_quartile, predicted.person_count, _course_outlook.smallest_group, predicted.mean_score
        ) as upper_quartile
    ) as quartile
  )

  select *
  from shown
  order by shown.mean_score desc nulls last, shown.external_id;
end;
$$;

alter function analytics._course_outlook(text, timestamptz, int) owner to insights_reader;

comment on function analytics._course_outlook(text, timestamptz, int) is $$
Computes the result of `analytics.course_outlook`.
`smallest_group`: figures of groups of counted people (see `analytics._shown`); null: exact figures of all learners.
$$;

grant execute on function analytics._course_outlook(text, timestamptz, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._course_outlook_shown(target text, as_of timestamptz)
returns setof analytics.course_outlook
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
as $$
  select *
  from analytics._course_outlook($1, date_trunc('day', $2), (select smallest_group from analytics.setting));
$$;

alter function analytics._course_outlook_shown(text, timestamptz) owner to insights_reader;

comment on function analytics._course_outlook_shown(text, timestamptz) is $$
Returns the result of `analytics.course_outlook` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._course_outlook_shown(text, timestamptz)
to insights_analyst;

create or replace function analytics.course_outlook(target text default 'dropout', as_of timestamptz default now())
returns setof analytics.course_outlook
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._course_outlook(text, timestamptz, int)', 'execute') then
    return query
    select *
    from analytics._course_outlook(course_outlook.target, course_outlook.as_of, null);
  else
    return query
    select *
    from analytics._course_outlook_shown(course_outlook.target, course_outlook.as_of);
  end if;
end;
$$;

comment on function analytics.course_outlook(text, timestamptz) is $$
Returns the predictions for the learners of each course, aggregated.
The mean probability of `dropout` or `completion`, or the mean expected `activity`, as of a time.
For admins and workers, figures are exact, of all learners. Analysts see figures of learners in the set `counted`, as of
the beginning of the day (UTC), rounded by `analytics._shown` and `analytics._shown_mean`, in the order of what is
shown. Courses with fewer learners than `analytics.setting.smallest_group` are excluded; a mean is null for fewer than
1.5 times as many, and quartiles for fewer than 4.5 times as many.
Errors: CF001 (as_of), CF002 (unknown target), CF006 (not trained).
$$;

grant execute on function analytics.course_outlook(text, timestamptz)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_outlook.sql

--! Included analytics/functions/course_learners.sql
create or replace function analytics._people_active_in(items bigint[], since timestamptz, until timestamptz)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period and the number of items.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_people_active_in.since at time zone 'UTC')::date;
  v_end_day constant date := case
    when isfinite(_people_active_in.until) then (_people_active_in.until at time zone 'UTC')::date + 1
    else 'infinity'
  end;
begin
  return array(
    select item_month.part::bigint * 32768 + listed.person
    from track.item_month
    cross join lateral unnest(item_month.people) as listed (person)
    where item_month.item_id = any (_people_active_in.items)
      and item_month.month > v_first_day - 31
      and item_month.month < v_end_day

    union

    select queued.person_id
    from track.queued_days(v_first_day, v_end_day) as entry
    cross join lateral unnest(entry.people) as queued (person_id)
  );
end;
$$;

comment on function analytics._people_active_in(bigint[], timestamptz, timestamptz) is $$
Returns the people who may have used one of the items between two times.
These are all that did, and all people whose events of these days are queued for a refresh.
$$;

grant execute on function analytics._people_active_in(bigint[], timestamptz, timestamptz) to insights_reader;

create or replace function analytics._names_of(people bigint[])
returns table (person_id bigint, name text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with stated as (
    select distinct on (trait.person_id, trait.name)
      trait.person_id, trait.name, left(trait.value #>> '{}', 256) as value
    from track.trait
    where trait.person_id = any (_names_of.people)
      and trait.name in ('name', 'firstName', 'lastName')
      and jsonb_typeof(trait.value) = 'string'
    order by trait.person_id, trait.name, trait.set_at desc, trait.identity_id
  )

  select
    stated.person_id,
    coalesce(
      max(nullif(stated.value, '')) filter (where stated.name = 'name'),
      nullif(concat_ws(
        ' ',
        max(nullif(stated.value, '')) filter (where stated.name = 'firstName'),
        max(nullif(stated.value, '')) filter (where stated.name = 'lastName')
      ), '')
    )
  from stated
  group by stated.person_id;
end;
$$;

comment on function analytics._names_of(bigint[]) is $$
Returns the names of people: the trait `name`, or else `firstName` and `lastName`; null when all of them are empty.
$$;

grant execute on function analytics._names_of(bigint[]) to insights_reader;

create or replace function analytics._activity_of_learners(
  course_id bigint, items bigint[], candidates bigint[], since timestamptz, until timestamptz
)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
-- The best plan depends on the period and the number of people.
set plan_cache_mode to force_custom_plan
set jit to off
as $$
declare
  v_items constant bigint[] := _activity_of_learners.items;
  v_people bigint[];
  v_shown bigint[];
  v_queued bigint[];
begin
  v_queued := coalesce((track.queued_days('0001-01-01', 'infinity', _activity_of_learners.candidates)).people, '{}');
  select array_agg(learner.person_id), coalesce(array_agg(learner.person_id) filter (where learner.is_shown), '{}')
  into v_people, v_shown
  from analytics._course_people(_activity_of_learners.course_id, _activity_of_learners.candidates) as learner;

  return query
  with part as materialized (
    select item.item_id, item.kind
    from track.item
    where item.item_id = any (v_items)
  ),

  size as (
    select
      count(*) filter (where part.kind not in ('course', 'module')) as items,
      count(*) filter (where part.kind = 'task') as tasks
    from part
  ),

  -- A grade by a teacher, or another automatic event, is not an activity of the learner. People who are queued for a
  -- refresh are read from their events, all others from their journeys.
  happened as materialized (
    select step.person_id, place.at as occurred_at, part.item_id, part.kind, event_type.name as event
    from track.step
    join track.event_type on event_type.event_type_id = step.event_type_id
    cross join lateral unnest(step.occurred_at, step.item_ids) as place (at, item_id)
    join part on part.item_id = place.item_id
    where step.person_id = any (v_shown)
      and step.person_id <> all (v_queued)
      and not step.is_automatic
      and place.at >= _activity_of_learners.since
      and place.at < _activity_of_learners.until

    union all

    select event.person_id, event.occurred_at, part.item_id, part.kind, event_type.name
    from track.event
    join part on part.item_id = event.item_id
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    where event.person_id = any (v_shown)
      and event.person_id = any (v_queued)
      and event.item_id = any (v_items)
      and event.occurred_at >= _activity_of_learners.since
      and event.occurred_at < _activity_of_learners.until
  ),

  active as (
    select
      happened.person_id,
      min(happened.occurred_at) as first_active_at,
      max(happened.occurred_at) as last_active_at,
      count(distinct (happened.occurred_at at time zone 'UTC')::date) as active_days,
      count(*) as event_count,
      count(distinct happened.item_id) filter (where happened.kind not in ('course', 'module')) as used_items,
      count(distinct happened.item_id) filter (
        where happened.kind = 'task' and happened.event in ('Task Submitted', 'Task Completed')
      ) as submitted_tasks
    from happened
    group by happened.person_id
  ),

  viewed as (
    select page_view.person_id, sum(page_view.engaged) as engaged
    from track.page_view
    where page_view.person_id = any (v_shown)
      and page_view.item_id = any (v_items)
      and page_view.started_at >= _activity_of_learners.since
      and page_view.started_at < _activity_of_learners.until
    group by page_view.person_id
  ),

  enrolled as (
    select
      enrolment.person_id,
      -- In the order of the alphabet: active, or else completed, or else dropped.
      min(enrolment.status) as status,
      min(enrolment.enrolled_at) as enrolled_at,
      case when bool_and(enrolment.ended_at is not null) then max(enrolment.ended_at) end as ended_at
    from track.enrolment
    where enrolment.person_id = any (v_people)
      and enrolment.item_id = _activity_of_learners.course_id
    group by enrolment.person_id
  ),

  named as (
    select known.person_id, known.name
    from analytics._names_of(v_shown) as known
  )

  select
    identity.external_id,
    named.name,
    enrolled.status,
    enrolled.enrolled_at,
    enrolled.ended_at,
    active.first_active_at,
    active.last_active_at,
    case when shown.is_shown then coalesce(active.active_days, 0)::int end,
    case when shown.is_shown then coalesce(active.event_count, 0) end,
    case when shown.is_shown then coalesce(viewed.engaged, '0') end,
    case when shown.is_shown then coalesce(active.used_items, 0)::int end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0)::int end,
    case when shown.is_shown then coalesce(active.used_items, 0) / nullif(size.items, 0)::float8 end,
    case when shown.is_shown then coalesce(active.submitted_tasks, 0) / nullif(size.tasks, 0)::float8 end
  from unnest(v_people) as learner (person_id)
  cross join size
  cross join lateral (select learner.person_id = any (v_shown) as is_shown) as shown
  -- The key of a person is that of its oldest user identity.
  join track.identity on identity.identity_id = learner.person_id
  left join enrolled on enrolled.person_id = learner.person_id
  left join active on active.person_id = learner.person_id
  left join viewed on viewed.person_id = learner.person_id
  left join named on named.person_id = learner.person_id
  where enrolled.person_id is not null
    or active.person_id is not null
    or viewed.engaged > '0'
  order by identity.external_id;
end;
$$;

comment on function analytics._activity_of_learners(bigint, bigint[], bigint[], timestamptz, timestamptz) is $$
Returns those of the candidates who are learners of a course, in the order of their names, with their activity.
`items`: the course and what it contains.
$$;

grant execute on function analytics._activity_of_learners(bigint, bigint[], bigint[], timestamptz, timestamptz)
to insights_reader;

create or replace function analytics._course_learners(
  course_id bigint, since timestamptz, until timestamptz, search text, after_person text, top int
)
returns setof analytics.course_learner
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(
    select ancestor.item_id
    from track.item_ancestor as ancestor
    where ancestor.ancestor_item_id = _course_learners.course_id
  );
  v_enrolled constant bigint[] := array(
    select enrolment.person_id
    from track.enrolment
    where enrolment.item_id = _course_learners.course_id
  );
  v_candidates bigint[];
  v_named bigint[];
  v_first int := 1;
  v_size int;
  v_missing int := _course_learners.top;
  v_found int;
begin
  v_candidates := array(
    select distinct listed.person_id
    from unnest(
      v_enrolled || analytics._people_active_in(v_items, _course_learners.since, _course_learners.until)
    ) as listed (person_id)
  );
  if _course_learners.search is not null then
    -- Names are those of people whose names may be shown.
    v_named := array(
      select learner.person_id
      from analytics._course_people(
        _course_learners.course_id,
        array(
          select known.person_id
          from analytics._names_of(v_candidates) as known
          where position(lower(_course_learners.search) in lower(known.name)) > 0
        )
      ) as learner
      where learner.is_shown
    );
  end if;

  -- The key of a person is that of its oldest user identity.
  v_candidates := array(
    select identity.identity_id
    from unnest(v_candidates) as candidate (person_id)
    join track.identity on identity.identity_id = candidate.person_id
    where (_course_learners.after_person is null or identity.external_id > _course_learners.after_person)
      and (
        _course_learners.search is null
        or position(lower(_course_learners.search) in lower(identity.external_id)) > 0
        or identity.identity_id = any (v_named)
      )
    order by identity.external_id
  );

  -- The first ones only. Not each of them is a learner, so that a few more are read, and then ever more.
  v_size := coalesce(_course_learners.top + _course_learners.top / 4 + 8, cardinality(v_candidates));
  while v_first <= cardinality(v_candidates) and v_missing is distinct from 0 loop
    return query
    select *
    from analytics._activity_of_learners(
      _course_learners.course_id, v_items, v_candidates[v_first : v_first + v_size - 1],
      _course_learners.since, _course_learners.until
    )
    limit v_missing;
    get diagnostics v_found = row_count;
    v_missing := v_missing - v_found;
    v_first := v_first + v_size;
    v_size := least(v_size * 2, 10000);
  end loop;
end;
$$;

comment on function analytics._course_learners(bigint, timestamptz, timestamptz, text, text, int) is $$
Computes the result of `analytics.course_learners`, with the privileges of the caller, for any course.
$$;

grant execute on function analytics._course_learners(bigint, timestamptz, timestamptz, text, text, int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for instructors in their own courses only. */
create or replace function analytics.course_learners(
  course text,
  since timestamptz default '-infinity',
  until timestamptz default 'infinity',
  search text default null,
  after_person text default null,
  top int default null
)
returns setof analytics.course_learner
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_course_id constant bigint := analytics._course_id(course_learners.course);
  v_learners analytics.course_learner[];
begin
  perform common.check_period(course_learners.since, course_learners.until);
  if course_learners.top is not null then
    perform common.check_count('top', course_learners.top, 1, 10000);
  end if;
  if length(course_learners.search) > 256 then
    perform common.refuse(
      'CF001', format('search has %s characters', length(course_learners.search)), 'It can have at most 256.'
    );
  end if;
  v_learners := array(
    select learner
    from analytics._course_learners(
      v_course_id, course_learners.since, course_learners.until,
      course_learners.search, course_learners.after_person, course_learners.top
    ) as learner
  );
  perform privacy.record_disclosure(
    array(
      select identity.person_id
      from unnest(v_learners) as learner
      join track.identity on identity.external_id = learner.person and identity.kind = 'user'
    ),
    'analytics.course_learners'
  );
  return query
  select learner.*
  from unnest(v_learners) as learner;
end;
$$;

alter function analytics.course_learners(text, timestamptz, timestamptz, text, text, int) owner to insights_reader;

comment on function analytics.course_learners(text, timestamptz, timestamptz, text, text, int) is $$
@behavior -mutationField +queryField
Returns the learners of a course, with their enrolment and their activity in the course between two times.
`until` is exclusive. They are in the order of `person`. `search`: those whose `userId` or name contains this text,
whatever its case; null or empty: all. `top`: the first ones only, from 1 to 10,000, so that large courses are read page
by page; null: all. `after_person`: those after this `userId` in the order, such as the last one of the page before.
Instructors call it for courses that they teach now.
Learners are the enrolled people, and those who were active in the course within the period without an enrolment. Of the
latter, anonymous browsers, excluded people (`track.exclude_person`) and people with a role in the course are left out.
Figures are exact and about the course only, including what it contains. Events count as soon as they are stored;
engaged time, and who is counted, are as of the last refresh.
Of people who have opted out of the purpose `analytics`, only the enrolment is returned.
Errors: CF001 for a period, `top`, or a `search` of more than 256 characters; CF002 for an unknown course, or one that
the instructor does not teach.
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function analytics.course_learners(text, timestamptz, timestamptz, text, text, int)
to insights_instructor, insights_admin, insights_worker;
--! EndIncluded analytics/functions/course_learners.sql

--! Included analytics/cohorts/cohorts.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._cohorts(smallest_group int)
returns setof analytics.cohort_size
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
begin
  return query
  with counted as materialized (
    select
      blocks.block,
      case when _cohorts.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people) as people
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  )

  select
    person_set.name,
    person_set.description,
    coalesce(cohort.is_live, false),
    case
      when person_set.name not in (select incomplete.name from analytics._incomplete_sets() as incomplete)
        then analytics._shown(size.person_count, size.person_count, _cohorts.smallest_group)::bigint
    end,
    cohort.as_of
  from track.person_set
  left join analytics.cohort on cohort.name = person_set.name
  cross join lateral (
    select coalesce(sum(bit_count(members.people & counted.people)), 0)::bigint as person_count
    from track.person_set_blocks(person_set.name) as members
    join counted on counted.block = members.block
  ) as size
  where starts_with(person_set.name, 'cohort.')
    or starts_with(person_set.name, 'segment.')
  order by person_set.name;
end;
$$;

alter function analytics._cohorts(int) owner to insights_reader;

comment on function analytics._cohorts(int) is $$
Computes the result of `analytics.cohorts`.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._cohorts(int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._cohorts_shown()
returns setof analytics.cohort_size
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._cohorts((select smallest_group from analytics.setting));
$$;

alter function analytics._cohorts_shown() owner to insights_reader;

comment on function analytics._cohorts_shown() is $$
Returns the result of `analytics.cohorts` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._cohorts_shown() to insights_analyst;

create or replace function analytics.cohorts()
returns setof analytics.cohort_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._cohorts(int)', 'execute') then
    return query select * from analytics._cohorts(null);
  else
    return query select * from analytics._cohorts_shown();
  end if;
end;
$$;

comment on function analytics.cohorts() is $$
Returns the cohorts and segments with their sizes, as of now.
Sizes are null for those that read variations of an experiment whose people were deleted by retention.
Each is a set of people, whose name is accepted as `among` (`cohort.beta`) and as `breakdown` (`set.cohort.beta`, or
`set.segment` for all segments). For admins and workers, sizes are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`: cohorts of too few people read as empty ones. The rules are
in `analytics.cohort`, for admins.
$$;

grant execute on function analytics.cohorts() to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/cohorts.sql

--! Included analytics/cohorts/segments.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._segments(compared_days int, smallest_group int)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
as $$
declare
  v_no_people constant bit(4096) := b'0'::bit(4096);
  v_counted analytics.people_block[];
  v_stale bigint[];
begin
  perform common.check_count('compared_days', _segments.compared_days, 1, 3660);
  v_counted := array(
    select row(
      blocks.block,
      case when _segments.smallest_group is null then ~v_no_people else coalesce(counted.people, v_no_people) end
        & ~coalesce(excluded.people, v_no_people)
    )::analytics.people_block
    from generate_series(0, (select max(person.person_id) / 4096 from track.person)::int) as blocks (block)
    left join track.person_set_blocks('counted') as counted on counted.block = blocks.block
    left join track.person_set_blocks('excluded') as excluded on excluded.block = blocks.block
  );
  v_counted := analytics._profiled(v_counted);
  -- The conditions are those of whole days, for which only people whose events have changed are read one by one.
  v_stale := array(select distinct stale.person_id from track.stale where stale.person_id <> 0);

  return query
  with counted as (
    select
      cohort.name, cohort.as_of, person_set.description,
      (
        select coalesce(sum(bit_count(members.people & part.people)), 0)::bigint
        from track.person_set_blocks(cohort.name) as members
        join unnest(v_counted) as part on part.block = members.block
      ) as person_count,
      (
        select coalesce(sum(bit_count(former.people)), 0)::bigint
        from unnest(
          analytics._rule_people(
            cohort.rule, v_counted, v_stale, cohort.as_of - _segments.compared_days,
            (cohort.as_of - _segments.compared_days + 1)::timestamptz
          )
        ) as former
      ) as former_count
    from analytics.cohort
    join track.person_set using (name)
    where starts_with(cohort.name, 'segment.')
  ),

  shown as (
    select
      counted.*,
      analytics._shown(counted.person_count, counted.person_count, _segments.smallest_group)::bigint as shown_count,
      analytics._shown(counted.former_count, counted.former_count, _segments.smallest_group)::bigint as shown_former
    from counted
  )

  select
    split_part(shown.name, '.', 2),
    shown.description,
    shown.shown_count,
    shown.shown_count / nullif(sum(shown.shown_count) over (), 0)::float8,
    shown.shown_former,
    shown.shown_count - shown.shown_former,
    shown.as_of,
    shown.as_of - _segments.compared_days
  from shown
  order by array_position('{segment.new,segment.returning,segment.casual,segment.regular,segment.power}', shown.name);
end;
$$;

alter function analytics._segments(int, int) owner to insights_reader;

comment on function analytics._segments(int, int) is $$
Computes the result of `analytics.segments`.
`smallest_group`: numbers of counted people (see `analytics._shown`); null: of all people who are not excluded.
$$;

grant execute on function analytics._segments(int, int) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._segments_shown(compared_days int)
returns setof analytics.segment_size
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select * from analytics._segments($1, (select smallest_group from analytics.setting));
$$;

alter function analytics._segments_shown(int) owner to insights_reader;

comment on function analytics._segments_shown(int) is $$
Returns the result of `analytics.segments` for analysts: rounded numbers of counted people.
$$;

grant execute on function analytics._segments_shown(int) to insights_analyst;

create or replace function analytics.segments(compared_days int default 28)
returns setof analytics.segment_size
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._segments(int, int)', 'execute') then
    return query select * from analytics._segments(segments.compared_days, null);
  else
    return query select * from analytics._segments_shown(segments.compared_days);
  end if;
end;
$$;

comment on function analytics.segments(int) is $$
Returns the sizes of the segments, and those of `compared_days` earlier.
The earlier sizes are computed from the events before that day, as they are stored now. Definitions and thresholds:
`analytics.define_segments`. For admins and workers, numbers are exact, of people who are not excluded. Analysts see
numbers of counted people, rounded by `analytics._shown`; shares and changes are computed from the numbers as shown.
Errors: CF001 for an invalid `compared_days`.
$$;

grant execute on function analytics.segments(int) to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/cohorts/segments.sql

--! Included analytics/funnels/_journeys.sql
create or replace function analytics._journeys(
  event_types int[],
  with_any boolean,
  with_items boolean,
  since timestamptz,
  until timestamptz,
  people bigint[] default null
)
returns table (
  person_id bigint, event_type_id int, is_automatic boolean, occurred_at timestamptz[], item_ids int[]
)
language plpgsql
stable
parallel safe
rows 100000
set search_path to pg_catalog, pg_temp
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_first_day constant date := (_journeys.since at time zone 'UTC')::date;
  v_end_day constant date := (_journeys.until at time zone 'UTC')::date + 1;
  v_queued record;
begin
  v_queued := track.queued_days(v_first_day, v_end_day, _journeys.people);
  -- The whole list where it is within the period. Places are computed once: each function that reads a list copies it.
  return query
  select
    placed.person_id, placed.event_type_id, placed.is_automatic,
    case
      when placed.before = 0 and placed.end_place = cardinality(placed.occurred_at) then placed.occurred_at
      else placed.occurred_at[placed.before + 1:placed.end_place]
    end,
    case
      when not _journeys.with_items then null
      when placed.before = 0 and placed.end_place = cardinality(placed.item_ids) then placed.item_ids
      else placed.item_ids[placed.before + 1:placed.end_place]
    end
  from (
    select
      step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as end_place
    from track.step
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id <> 0
      and (_journeys.people is null or step.person_id = any (_journeys.people))
      and (v_queued.people is null or step.person_id <> all (v_queued.people))
      and step.since > v_first_day - 366
      and step.since < v_end_day
    offset 0
  ) as placed
  where placed.before < placed.end_place;
  if v_queued.people is null then
    return;
  end if;

  -- Of people who are queued for a refresh, the days that are queued come from the events.
  return query
  with queued as materialized (
    select
      entry.person_id,
      greatest(entry.first_day::timestamp at time zone 'UTC', _journeys.since) as since,
      least(entry.end_day::timestamp at time zone 'UTC', _journeys.until) as until
    from unnest(v_queued.people, v_queued.first_days, v_queued.end_days) as entry (person_id, first_day, end_day)
  ),

  placed as (
    select
      step.person_id, step.event_type_id, step.is_automatic, step.occurred_at, step.item_ids,
      width_bucket(_journeys.since - interval '1 microsecond', step.occurred_at) as since,
      width_bucket(queued.since - interval '1 microsecond', step.occurred_at) as queued_since,
      width_bucket(queued.until - interval '1 microsecond', step.occurred_at) as queued_until,
      width_bucket(_journeys.until - interval '1 microsecond', step.occurred_at) as until
    from track.step
    join queued on queued.person_id = step.person_id
    where (step.event_type_id = any (_journeys.event_types) or _journeys.with_any and not step.is_automatic)
      and step.person_id = any (v_queued.people)
      and step.person_id <> 0
      and step.since > v_first_day - 366
      and step.since < v_end_day
  ),

  -- In two parts where those between them are queued.
  kept as (
    select
      placed.person_id, placed.event_type_id, placed.is_automatic, placed.occurred_at, placed.item_ids,
      case when half.is_first then placed.since else placed.queued_until end as first_place,
      case when half.is_first then placed.queued_since else placed.until end as end_place
    from placed
    cross join (values (true), (false)) as half (is_first)
  )

  select
    kept.person_id, kept.event_type_id, kept.is_automatic,
    kept.occurred_at[kept.first_place + 1:kept.end_place],
    case when _journeys.with_items then kept.item_ids[kept.first_place + 1:kept.end_place] end
  from kept
  where kept.first_place < kept.end_place

  union all

  select
    happened.person_id, happened.event_type_id, happened.is_automatic,
    array_agg(happened.occurred_at order by happened.occurred_at, happened.item_id),
    case when _journeys.with_items then array_agg(happened.item_id order by happened.occurred_at, happened.item_id) end
  from (
    select
      event.person_id, event.event_type_id, event.occurred_at, coalesce(event.item_id, 0)::int as item_id,
      event_type.is_automatic or source.is_automatic as is_automatic
    from queued
    join track.event
      on event.person_id = queued.person_id
      and event.occurred_at >= queued.since
      and event.occurred_at < queued.until
    join track.event_type on event_type.event_type_id = event.event_type_id
    join track.source on source.source_id = event.source_id
    where event.person_id <> 0
  ) as happened
  where happened.event_type_id = any (_journeys.event_types)
    or _journeys.with_any and not happened.is_automatic
  group by happened.person_id, happened.event_type_id, happened.is_automatic;
end;
$$;

comment on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[]) is $$
Returns the times and items of events of people in a period, with the privileges of the caller.
Of these event types, and `with_any` of all events that are not automatic; without person 0. `people`: of these only;
null: of all. A person and event type
can have several rows, in each of which the times ascend, and which can be empty. `item_ids`: 0 for events that name
none; null unless `with_items`. The events of people who are queued for a refresh are included.
$$;

grant execute on function analytics._journeys(int[], boolean, boolean, timestamptz, timestamptz, bigint[])
to insights_reader;
--! EndIncluded analytics/funnels/_journeys.sql

--! Included analytics/funnels/funnel.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _funnel.since, _funnel.until, 'UTC');
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel.steps, _funnel.exclusions, _funnel.step_order, _funnel.item
  );
  v_window constant interval := analytics._conversion_window(_funnel.conversion_window);
begin
  return query
  with attempt as materialized (
    select * from analytics._attempts_by_value(
      v_filters, v_bounds, _funnel.step_order, v_window, _funnel.among, _funnel.breakdown, _funnel.attribution,
      _funnel.top_values, _funnel.smallest_group
    )
  ),

  step as (
    select
      filter.first_step as number, filter.event, filter.item, filter.is_optional,
      -- The steps before and after it that are not optional.
      max(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between unbounded preceding and 1 preceding
      ) as previous,
      min(filter.first_step) filter (where not filter.is_optional) over (
        order by filter.first_step rows between 1 following and unbounded following
      ) as next
    from unnest(v_filters) as filter
    where not filter.is_exclusion
  ),

  -- Times in seconds, which are sorted faster than intervals.
  done as (
    select
      attempt.value, attempt.is_other, step.number,
      attempt.times[step.next] is null
        and attempt.times[1] + v_window > least(v_bounds[2], now())
        and step.next is not null as is_open,
      date_part('epoch', attempt.times[step.number] - attempt.times[step.previous]) as time,
      case when step.number > 1 then date_part('epoch', attempt.times[step.number] - attempt.times[1]) end as total_time
    from attempt
    join step on attempt.times[step.number] is not null
    offset 0
  ),

  counted as (
    select
      done.value, done.is_other, done.number,
      count(*) as person_count,
      count(*) filter (where done.is_open) as open_count,
      justify_hours(make_interval(secs => avg(done.time))) as mean_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.time))) as median_time,
      justify_hours(make_interval(secs => percentile_cont(0.5) within group (order by done.total_time)))
        as total_time
    from done
    group by done.value, done.is_other, done.number
  ),

  shown as (
    select
      keys.value, keys.is_other, step.*,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(counted.open_count, counted.open_count, _funnel.smallest_group), 0
      )::bigint as open_count,
      analytics._shown_time(counted.mean_time, counted.person_count, _funnel.smallest_group) as mean_time,
      analytics._shown_time(
        counted.median_time, counted.person_count, _funnel.smallest_group, counted.median_time
      ) as median_time,
      analytics._shown_time(
        counted.total_time, counted.person_count, _funnel.smallest_group, counted.total_time
      ) as total_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel.breakdown is not null
      union all
      select null, false where _funnel.breakdown is null
    ) as keys
    cross join step
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.number = step.number
  )

  select
    shown.value,
    shown.is_other,
    shown.number,
    case when _funnel.step_order <> 'unordered' then shown.event end,
    case when _funnel.step_order <> 'unordered' then shown.item end,
    shown.is_optional,
    shown.person_count,
    shown.person_count::float8 / nullif(entered.person_count, 0),
    shown.person_count::float8 / nullif(earlier.person_count, 0),
    case when later.number is not null then greatest(shown.person_count - later.person_count, 0) end,
    case when shown.next is not null then shown.open_count end,
    shown.mean_time,
    shown.median_time,
    case when shown.number > 1 then shown.total_time end
  from shown
  join shown as entered
    on entered.value is not distinct from shown.value
    and entered.is_other = shown.is_other
    and entered.number = 1
  left join shown as earlier
    on earlier.value is not distinct from shown.value
    and earlier.is_other = shown.is_other
    and earlier.number = shown.previous
  left join shown as later
    on later.value is not distinct from shown.value
    and later.is_other = shown.is_other
    and later.number = shown.next
    and not shown.is_optional
  where _funnel.breakdown is null
    or entered.person_count > 0
  order by shown.is_other, shown.value is null, shown.value, shown.number;
end;
$$;

alter function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_step
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_step
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_shown(
      funnel.steps, funnel.since, funnel.until, funnel.step_order, funnel.conversion_window, funnel.exclusions,
      funnel.item, funnel.among, funnel.breakdown, funnel.attribution, funnel.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
) is $$
Returns how many people did each step of a funnel, and how long it took.
`steps`: 2 to 20 events, each the name of an event, or an object with the keys `event` (null: any that is not
automatic), `item` (with what it contains), `property` ({"name": …, "is": …}) and `optional`. Only events from
`since` until `until` count, extended to whole days (UTC). `step_order`: `ordered`, with other events between the
steps; `strict`, without another event between them (automatic ones apart); or `unordered`, where row n is about any n
of the steps. All steps are within the `conversion_window` from the first one, including its end. A person counts
once, with the attempt that went furthest, and of those the earliest; a later first step begins a new attempt. One
event is one step: the same step twice needs two events. Events of the same instant count in the order of the steps.
`exclusions`: events, with the keys of a step, `from` and `to` (the first and the last step), that must not be between
two steps. A person whose furthest attempt met one is not in the funnel; in an unordered funnel, where only an
exclusion from the first to the last step is possible, she has done one step. An `optional` step can be left out; its
people are those who did it, and the next step is compared with the one before it.
`item`: that of the steps without an item. `among`: people of these sets now, such as `segment.power & ~staff`.
`breakdown`: `set.<family>`, `trait.<name>`, or `property.<name>` of the events that `attribution` names: the first or
the last one with a value (`first_touch`, `last_touch`), the one of a step (`step_2`; a person counts for each value
there), or all (`all_events`: the steps of a value only). The rules are those of PostHog.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people
(`track.exclude_person`), of days on which at least `analytics.setting.smallest_group` of them did the step, or of the
small days of a week together; a number of fewer people reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item or set (names the nearest), CF008 for too many
steps, CF009 for steps of another form.
$$;

grant execute on function analytics.funnel(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel.sql

--! Included analytics/funnels/funnel_trend.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_trend(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_trend_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_trend.steps, _funnel_trend.exclusions, _funnel_trend.step_order, _funnel_trend.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_trend.from_step, _funnel_trend.to_step);
  v_bounds constant timestamptz[] := analytics._bounds(
    _funnel_trend.bucket, _funnel_trend.since, _funnel_trend.until, _funnel_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  v_window constant interval := analytics._conversion_window(_funnel_trend.conversion_window);
begin
  if v_count * analytics._value_count(_funnel_trend.breakdown, _funnel_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;

  return query
  with attempt as materialized (
    select found.value, found.is_other, found.bucket, found.times
    -- The last part is for the later steps.
    from analytics._attempts_by_value(
      v_filters,
      v_bounds || date_trunc('day', v_bounds[v_count + 1] + v_window + interval '1 day'),
      _funnel_trend.step_order, v_window, _funnel_trend.among, _funnel_trend.breakdown, _funnel_trend.attribution,
      _funnel_trend.top_values, _funnel_trend.smallest_group
    ) as found
    where found.bucket <= v_count
  ),

  counted as (
    select
      attempt.value, attempt.is_other, attempt.bucket,
      count(*) filter (where attempt.times[_funnel_trend.from_step] is not null) as entered_count,
      count(*) filter (where attempt.times[v_to_step] is not null) as converted_count,
      percentile_cont(0.5) within group (
        order by attempt.times[v_to_step] - attempt.times[_funnel_trend.from_step]
      ) as median_time
    from attempt
    group by attempt.value, attempt.is_other, attempt.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.entered_count, counted.entered_count, _funnel_trend.smallest_group), 0
      )::bigint as entered_count,
      coalesce(
        analytics._shown(counted.converted_count, counted.converted_count, _funnel_trend.smallest_group), 0
      )::bigint as converted_count,
      analytics._shown_time(
        counted.median_time, counted.converted_count, _funnel_trend.smallest_group, counted.median_time
      ) as median_time
    from (
      select distinct counted.value, counted.is_other from counted where _funnel_trend.breakdown is not null
      union all
      select null, false where _funnel_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.entered_count,
    shown.converted_count,
    shown.converted_count::float8 / nullif(shown.entered_count, 0),
    shown.median_time,
    v_bounds[shown.bucket + 1] + v_window <= now(),
    _funnel_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

alter function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_trend`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_trend_shown(
  steps jsonb,
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_trend_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_trend(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_trend_shown(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_trend(
  steps jsonb,
  bucket text default 'week',
  since timestamptz default date_trunc('week', now() at time zone 'UTC' - interval '77 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_trend_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_trend(jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, '
      || 'text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_trend(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_trend_shown(
      funnel_trend.steps, funnel_trend.bucket, funnel_trend.since, funnel_trend.until, funnel_trend.zone,
      funnel_trend.step_order, funnel_trend.conversion_window, funnel_trend.exclusions, funnel_trend.from_step,
      funnel_trend.to_step, funnel_trend.item, funnel_trend.among, funnel_trend.breakdown, funnel_trend.attribution,
      funnel_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
) is $$
Returns the conversion of the people who entered a funnel in each bucket.
A person counts in each bucket of `since` until `until` (extended to whole buckets of the zone; weeks start on Monday)
in which she did the first step, with the attempt that began in it and went furthest. The later steps count within the
window, also after the bucket and after `until`, so that the figures of a bucket do not depend on the period; the
window of a bucket that is not complete (`is_complete`) is still open. In an unordered funnel, an attempt begins with
the first of its steps.
`from_step`, `to_step`: the rate is that of the people who did the one among those who did the other; `to_step` null:
the last step. The other arguments are those of `analytics.funnel`, and so are the rules and what analysts see:
figures of counted people, and in a bucket of small days, of whole weeks only.
Errors: as `analytics.funnel`, CF001 for steps in another order, CF008 for more than 100,000 buckets and values.
$$;

grant execute on function analytics.funnel_trend(
  jsonb, text, timestamptz, timestamptz, text, text, interval, jsonb, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_trend.sql

--! Included analytics/funnels/funnel_times.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_times(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int,
  smallest_group int
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_times.steps, _funnel_times.exclusions, _funnel_times.step_order, _funnel_times.item
  );
  v_to_step constant int := analytics._last_step(v_filters, _funnel_times.from_step, _funnel_times.to_step);
  v_days constant timestamptz[] := analytics._bounds('day', _funnel_times.since, _funnel_times.until, 'UTC');
  v_widths constant float8[] := array[
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 2 * 86400, 7 * 86400,
    14 * 86400, 28 * 86400, 91 * 86400, 365 * 86400
  ];
begin
  perform common.check_count('bins', _funnel_times.bins, 1, 1000);
  return query
  with converted as materialized (
    select
      attempt.value, attempt.is_other,
      extract(epoch from attempt.times[v_to_step] - attempt.times[_funnel_times.from_step])::float8 as seconds
    from analytics._attempts_by_value(
      v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_times.step_order,
      analytics._conversion_window(_funnel_times.conversion_window), _funnel_times.among, _funnel_times.breakdown,
      _funnel_times.attribution, _funnel_times.top_values, _funnel_times.smallest_group
    ) as attempt
    where attempt.times[v_to_step] is not null
  ),

  -- The bins of a value are those that its times need.
  scaled as (
    select part.value, part.is_other, fitting.width
    from (
      select
        converted.value, converted.is_other,
        percentile_cont(0.95) within group (order by converted.seconds) as most_seconds
      from converted
      group by converted.value, converted.is_other
      having count(*) >= coalesce(4.5 * nullif(_funnel_times.smallest_group, 1), 0)
    ) as part
    cross join lateral (
      select coalesce(min(known.width), v_widths[cardinality(v_widths)]) as width
      from unnest(v_widths) as known (width)
      where known.width * _funnel_times.bins > part.most_seconds
    ) as fitting
  ),

  counted as (
    select
      scaled.value, scaled.is_other, least(floor(converted.seconds / scaled.width), _funnel_times.bins)::int as bin,
      count(*) as person_count
    from scaled
    join converted
      on converted.value is not distinct from scaled.value
      and converted.is_other = scaled.is_other
    group by 1, 2, 3
  ),

  shown as (
    select
      scaled.value, scaled.is_other, scaled.width, listed.bin,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _funnel_times.smallest_group), 0
      )::bigint as person_count
    from scaled
    cross join generate_series(0, _funnel_times.bins) as listed (bin)
    left join counted
      on counted.value is not distinct from scaled.value
      and counted.is_other = scaled.is_other
      and counted.bin = listed.bin
  ),

  placed as (
    select
      shown.*,
      max(shown.bin) filter (where shown.person_count > 0) over (partition by shown.is_other, shown.value) as last_bin
    from shown
  )

  select
    make_interval(secs => placed.bin * placed.width),
    case when placed.bin < _funnel_times.bins then make_interval(secs => (placed.bin + 1) * placed.width) end,
    placed.person_count,
    placed.value,
    placed.is_other
  from placed
  where placed.bin <= placed.last_bin
  order by placed.is_other, placed.value is null, placed.value, placed.bin;
end;
$$;

alter function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_times`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_times_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  from_step int,
  to_step int,
  bins int,
  item text,
  among text,
  breakdown text,
  attribution text,
  top_values int
)
returns setof analytics.funnel_time
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_times(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns the result of `analytics.funnel_times` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_times_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_times(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  from_step int default 1,
  to_step int default null,
  bins int default 20,
  item text default null,
  among text default null,
  breakdown text default null,
  attribution text default 'first_touch',
  top_values int default 10
)
returns setof analytics.funnel_time
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_times(jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, '
      || 'text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_times(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values, null
    );
  else
    return query
    select *
    from analytics._funnel_times_shown(
      funnel_times.steps, funnel_times.since, funnel_times.until, funnel_times.step_order,
      funnel_times.conversion_window, funnel_times.exclusions, funnel_times.from_step, funnel_times.to_step,
      funnel_times.bins, funnel_times.item, funnel_times.among, funnel_times.breakdown, funnel_times.attribution,
      funnel_times.top_values
    );
  end if;
end;
$$;

comment on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
) is $$
Returns how long people took from one step of a funnel to another: a histogram.
There is one row for each bin from 0 to the largest time, without empty ones at the end. All bins have the same width,
the smallest of a list (1, 2, 5, 10, 15, 30 seconds or minutes, 1, 2, 3, 6, 12 hours, 1, 2, 7, 14, 28, 91, 365 days)
with which 95 % of the people are in at most `bins` bins; the last bin has no end when there are longer times. Those of
a value of `breakdown` are the bins of its people alone.
`from_step`, `to_step` (null: the last step) are steps that are not optional. The other arguments are those of
`analytics.funnel`, and so are the rules. Analysts see numbers of people as there, from 23 people on (as a quartile).
Errors: as `analytics.funnel`, CF001 for steps in another order and for other numbers of bins than 1 to 1,000.
$$;

grant execute on function analytics.funnel_times(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, int, int, int, text, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_times.sql

--! Included analytics/funnels/funnel_correlation.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._funnel_correlation(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int,
  smallest_group int
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_filters constant analytics.step_filter[] := analytics._funnel_steps(
    _funnel_correlation.steps, _funnel_correlation.exclusions, _funnel_correlation.step_order, _funnel_correlation.item
  );
  v_last_step constant int := analytics._last_step(v_filters, 1, null);
  v_days constant timestamptz[] := analytics._bounds(
    'day', _funnel_correlation.since, _funnel_correlation.until, 'UTC'
  );
  v_window constant interval := analytics._conversion_window(_funnel_correlation.conversion_window);
  v_trait constant text := case when factors like 'trait.%' then substr(factors, length('trait.') + 1) end;
  v_people bigint[];
  v_converted boolean[];
  v_starts timestamptz[];
  v_ends timestamptz[];
begin
  if factors is null or factors not in ('event', 'set') and coalesce(v_trait, '') = '' or length(factors) > 106 then
    perform common.refuse(
      'CF001', format('factors is "%s"', left(factors, 100)), 'Use event, set, or trait.<name>.'
    );
  end if;
  perform common.check_count('top', coalesce(_funnel_correlation.top, 1), 1, 10000);

  select
    array_agg(attempt.person_id), array_agg(attempt.times[v_last_step] is not null), array_agg(attempt.times[1]),
    array_agg(least(coalesce(attempt.times[v_last_step], attempt.times[1] + v_window), v_days[cardinality(v_days)]))
  into v_people, v_converted, v_starts, v_ends
  from analytics._attempts_by_value(
    v_filters, array[v_days[1], v_days[cardinality(v_days)]], _funnel_correlation.step_order, v_window,
    _funnel_correlation.among, null, 'first_touch', 10, _funnel_correlation.smallest_group
  ) as attempt;

  return query
  with person as materialized (
    select entry.person_id, entry.converted, entry.starts_at, entry.ends_at
    from unnest(v_people, v_converted, v_starts, v_ends) as entry (person_id, converted, starts_at, ends_at)
  ),

  whole as (
    select
      count(*) filter (where person.converted) as converted,
      count(*) filter (where not person.converted) as dropped
    from person
  ),

  present as (
    select distinct event_type.name as factor, person.person_id, person.converted
    from analytics._journeys(
      '{}', true, false, v_days[1], v_days[cardinality(v_days)]
    ) as journey
    join person on person.person_id = journey.person_id
    join track.event_type on event_type.event_type_id = journey.event_type_id
    where factors = 'event'
      and width_bucket(person.ends_at, journey.occurred_at)
        > width_bucket(person.starts_at - interval '1 microsecond', journey.occurred_at)
      and journey.event_type_id not in (select filter.event_type_id from unnest(v_filters) as filter)

    union all

    select person_set.name, person.person_id, person.converted
    from track.person_set
    cross join lateral track.person_set_blocks(person_set.name) as members
    join person
      on person.person_id / 4096 = members.block
      and get_bit(members.people, (person.person_id % 4096)::int) <> 0
    where factors = 'set'
      -- The people who are left in these sets are others.
      and person_set.name not in (select incomplete.name from analytics._incomplete_sets() as incomplete)

    union all

    select by_value.value, person.person_id, person.converted
    from analytics._people_by_value(
      case when v_trait is not null then factors end, 100, _funnel_correlation.smallest_group
    ) as by_value
    join person
      on person.person_id / 4096 = by_value.block
      and get_bit(by_value.people, (person.person_id % 4096)::int) <> 0
    where v_trait is not null
      and by_value.value is not null
  ),

  counted as (
    select
      present.factor,
      count(*) filter (where present.converted) as converted,
      count(*) filter (where not present.converted) as dropped
    from present
    group by present.factor
  ),

  cell as (
    select
      counted.factor,
      analytics._shown(counted.converted, counted.converted, _funnel_correlation.smallest_group) as converted_with,
      analytics._shown(counted.dropped, counted.dropped, _funnel_correlation.smallest_group) as dropped_with,
      analytics._shown(
        whole.converted - counted.converted, whole.converted - counted.converted, _funnel_correlation.smallest_group
      ) as converted_without,
      analytics._shown(
        whole.dropped - counted.dropped, whole.dropped - counted.dropped, _funnel_correlation.smallest_group
      ) as dropped_without
    from counted
    cross join whole
    where counted.converted + counted.dropped between coalesce(_funnel_correlation.smallest_group, 1)
      and whole.converted + whole.dropped - coalesce(_funnel_correlation.smallest_group, 1)
  ),

  compared as (
    select
      cell.*,
      ln((cell.converted_with + 0.5) * (cell.dropped_without + 0.5))
        - ln((cell.dropped_with + 0.5) * (cell.converted_without + 0.5)) as log_odds,
      sqrt(
        1 / (cell.converted_with + 0.5) + 1 / (cell.dropped_with + 0.5)
          + 1 / (cell.converted_without + 0.5) + 1 / (cell.dropped_without + 0.5)
      ) as deviation
    from cell
  ),

  tested as (
    select
      compared.*,
      2 * ml.normal_cdf(-abs(compared.log_odds / compared.deviation)) as p_value
    from compared
  ),

  corrected as (
    select experiment.benjamini_hochberg(array_agg(tested.p_value order by tested.factor)) as p_values
    from tested
    having count(*) > 0
  ),

  ranked as (
    select tested.*, corrected.p_values[row_number() over (order by tested.factor)] as adjusted
    from tested
    cross join corrected
  )

  select
    ranked.factor,
    ranked.converted_with::bigint,
    ranked.dropped_with::bigint,
    ranked.converted_without::bigint,
    ranked.dropped_without::bigint,
    exp(ranked.log_odds),
    exp(ranked.log_odds - 1.959963984540054 * ranked.deviation),
    exp(ranked.log_odds + 1.959963984540054 * ranked.deviation),
    ranked.adjusted,
    ranked.adjusted <= 0.05
  from ranked
  order by abs(ranked.log_odds) - 1.959963984540054 * ranked.deviation desc, ranked.factor
  limit _funnel_correlation.top;
end;
$$;

alter function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
) is $$
Computes the result of `analytics.funnel_correlation`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._funnel_correlation_shown(
  steps jsonb,
  since timestamptz,
  until timestamptz,
  step_order text,
  conversion_window interval,
  exclusions jsonb,
  factors text,
  item text,
  among text,
  top int
)
returns setof analytics.funnel_factor
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._funnel_correlation(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
owner to insights_reader;

comment on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns the result of `analytics.funnel_correlation` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._funnel_correlation_shown(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst;

create or replace function analytics.funnel_correlation(
  steps jsonb,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  step_order text default 'ordered',
  conversion_window interval default '14 days',
  exclusions jsonb default '[]',
  factors text default 'event',
  item text default null,
  among text default null,
  top int default 20
)
returns setof analytics.funnel_factor
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._funnel_correlation(jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, '
      || 'int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._funnel_correlation(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top, null
    );
  else
    return query
    select *
    from analytics._funnel_correlation_shown(
      funnel_correlation.steps, funnel_correlation.since, funnel_correlation.until, funnel_correlation.step_order,
      funnel_correlation.conversion_window, funnel_correlation.exclusions, funnel_correlation.factors,
      funnel_correlation.item, funnel_correlation.among, funnel_correlation.top
    );
  end if;
end;
$$;

comment on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
) is $$
Returns what sets the people who did all steps of a funnel apart from those who did not.
`factors`: `event`: whether a person did an event of each type between her first and her last step or, without the last
step, within the window; `set`: whether she is in each set of people now, of those that `among` accepts; `trait.<name>`:
whether she has each of the 100 most frequent values. The odds ratio is that of doing all steps, of people with the
factor compared with the others: 2 means twice the odds, 0.5 half of them. It is computed with 0.5 added to each of the
four numbers (Haldane 1956, Anscombe 1956), and its 95 % interval by the logarithm (B. Woolf, "On estimating the
relation between blood group and disease", Annals of Human Genetics 19, 1955). `is_significant`: the false discovery
rate of all that are marked is at most 5 % (Benjamini and Hochberg 1995; chi-squared test by the logarithm of the odds
ratio). Factors are ordered by the bound of the interval that is closer to 1, the clearest first; `top` null: all. A
correlation is not a cause. Steps and exclusions are not among the factors. The other arguments are those of
`analytics.funnel`, and so are the rules. For analysts, all figures are computed from the numbers of people as shown,
and factors of too few people are left out, as are those that too few people are without. Errors: as `analytics.funnel`.
$$;

grant execute on function analytics.funnel_correlation(
  jsonb, timestamptz, timestamptz, text, interval, jsonb, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/funnels/funnel_correlation.sql

--! Included analytics/paths/paths.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._paths(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _paths.since, _paths.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Of "..." in the order of the names.
  v_place_of_others float8;
  v_size bigint;
  -- Of the transitions of a step; there are fewer than 32 steps.
  v_steps_size bigint;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_paths.breakdown, _paths.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('steps', _paths.steps, 2, 20);
  perform common.check_count('top', coalesce(_paths.top, 1), 1, 10000);
  if _paths.breakdown is not null and _paths.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_paths.nodes, _paths.wildcards, _paths.exclusions) as numbered;
  v_size := cardinality(v_names) + 2;
  v_steps_size := 32 * v_size * v_size;
  v_place_of_others := 0.5 + (select count(*) from unnest(v_names) as name where name collate "C" < '...');

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_paths.among, _paths.smallest_group) as member;

  return query
  -- A transition is one number, which is grouped faster: its step, source and target, which is 0 at the end of a path.
  with moved as not materialized (
    select
      path.person_id, path.day, path.is_member, path.is_compared,
      (path.step * v_size + path.source + 1) * v_size + coalesce(path.target + 1, 1) as edge,
      (path.ended - path.started)::float8 as took
    from (
      select
        path.person_id, path.is_member, path.is_compared, generate_series(1::bigint, cardinality(path.nodes)) as step,
        case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
        unnest(path.nodes) as source, unnest(path.nodes[2:]) as target, unnest(path.starts) as started,
        unnest(path.starts[2:]) as ended
      from analytics._session_paths(
        v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type,
        analytics._node_number(v_names, _paths.start_at, 'start_at'),
        analytics._node_number(v_names, _paths.end_at, 'end_at'), _paths.steps, true, _paths.among,
        _paths.compared_with, _paths.smallest_group
      ) as path
    ) as path
  ),

  divided as materialized (
    select moved.* from moved where _paths.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  part as materialized (
    select
      part.value, part.is_other, part.day, part.block, part.people,
      dense_rank() over (order by part.is_other, part.value is null, part.value) as number
    from used
    cross join lateral analytics._groups_of_use(
      _paths.breakdown, _paths.top_values, _paths.smallest_group, v_blocks, v_people, used.days, used.people
    ) as part
    where _paths.breakdown is not null
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.number
    from (select distinct divided.person_id, divided.day from divided) as person
    join part
      on part.block = person.person_id / 4096
      and part.day = person.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
  ),

  -- The number of the value comes before the step.
  view as materialized (
    select moved.person_id, moved.is_member, moved.is_compared, moved.edge, moved.took
    from moved
    where _paths.breakdown is null

    union all

    select
      divided.person_id, divided.is_member, divided.is_compared, place.number * v_steps_size + divided.edge,
      divided.took
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
  ),

  edge as materialized (
    select
      view.edge,
      (view.edge / v_steps_size)::int as part,
      (view.edge % v_steps_size / (v_size * v_size))::int as step,
      (view.edge / v_size % v_size - 1)::int as source,
      nullif(view.edge % v_size - 1, 0)::int as target,
      (count(*) filter (where view.is_member))::float8 as transition_count,
      (count(*) filter (where view.is_compared))::float8 as compared_count,
      sum(view.took) filter (where view.is_member) as took
    from view
    group by view.edge
  ),

  -- The people of exact figures are counted for these only.
  candidate as materialized (
    select ranked.*
    from (
      select
        edge.*,
        row_number() over (
          partition by edge.part
          order by
            greatest(edge.transition_count, edge.compared_count) desc, edge.step,
            case edge.source when -1 then v_place_of_others else edge.source end,
            case edge.target when -1 then v_place_of_others else edge.target end
        ) as rank
      from edge
      where edge.target is not null
    ) as ranked
    where _paths.smallest_group is not null
      or ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  counted as (
    select
      by_person.edge,
      count(*) filter (where by_person.is_member) as person_count,
      count(*) filter (where by_person.is_compared) as compared_people
    from (
      select view.edge, view.person_id, bool_or(view.is_member) as is_member, bool_or(view.is_compared) as is_compared
      from view
      join candidate on candidate.edge = view.edge
      group by view.edge, view.person_id
    ) as by_person
    group by by_person.edge
  ),

  -- The paths at each node, also those that end there.
  node as (
    select
      edge.part, edge.step, edge.source, sum(edge.transition_count) as path_count,
      sum(edge.compared_count) as compared_count
    from edge
    group by edge.part, edge.step, edge.source
  ),

  shown as materialized (
    select
      candidate.part, candidate.step, candidate.source, candidate.target,
      candidate.took / nullif(candidate.transition_count, 0) as mean_microseconds, counted.person_count,
      counted.compared_people,
      analytics._shown(
        candidate.transition_count, counted.person_count, _paths.smallest_group
      )::bigint as transition_count,
      analytics._shown(
        candidate.compared_count, counted.compared_people, _paths.smallest_group
      )::bigint as compared_count
    from candidate
    join counted on counted.edge = candidate.edge
    where counted.person_count >= coalesce(_paths.smallest_group, 1)
      or counted.compared_people >= coalesce(_paths.smallest_group, 1)
  ),

  -- All other figures are those of these only. The nodes are numbered in the order of their names.
  largest as materialized (
    select ranked.*
    from (
      select
        shown.*,
        row_number() over (
          partition by shown.part
          order by
            greatest(shown.transition_count, shown.compared_count) desc, shown.step,
            case shown.source when -1 then v_place_of_others else shown.source end,
            case shown.target when -1 then v_place_of_others else shown.target end
        ) as rank
      from shown
    ) as ranked
    where ranked.rank <= coalesce(_paths.top, ranked.rank)
  ),

  related as (
    select
      largest.*,
      -- As precise as the number of transitions.
      analytics._shown(
        node.path_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as path_count,
      analytics._shown(
        node.compared_count, greatest(largest.person_count, largest.compared_people), _paths.smallest_group
      ) as compared_path_count
    from largest
    join node on node.part = largest.part and node.step = largest.step and node.source = largest.source
  )

  select
    related.step,
    coalesce(v_names[related.source], '...'),
    coalesce(v_names[related.target], '...'),
    related.transition_count,
    analytics._shown(related.person_count, related.person_count, _paths.smallest_group)::bigint,
    -- least() ignores a null.
    case when related.path_count > 0 then least(related.transition_count / related.path_count, 1) end,
    analytics._shown_time(
      make_interval(secs => (related.mean_microseconds / 1000000)::float8), related.person_count,
      _paths.smallest_group
    ),
    case when _paths.compared_with is not null then related.compared_count end,
    case
      when _paths.compared_with is not null
        then analytics._shown(related.compared_people, related.compared_people, _paths.smallest_group)::bigint
    end,
    case
      when _paths.compared_with is not null and related.compared_path_count > 0
        then least(related.compared_count / related.compared_path_count, 1)
    end,
    part.value,
    coalesce(part.is_other, false)
  from related
  left join (select distinct part.number, part.value, part.is_other from part) as part on part.number = related.part
  order by related.part, related.rank;
end;
$$;

alter function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
)
owner to insights_reader;

comment on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.paths`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._paths_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  start_at text,
  end_at text,
  steps int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_edge
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._paths(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.paths` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._paths_shown(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst;

create or replace function analytics.paths(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  start_at text default null,
  end_at text default null,
  steps int default 5,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.path_edge
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._paths(timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, '
      || 'int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._paths(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values, null
    );
  else
    return query
    select *
    from analytics._paths_shown(
      paths.since, paths.until, paths.nodes, paths.start_at, paths.end_at, paths.steps, paths.wildcards,
      paths.exclusions, paths.among, paths.compared_with, paths.top, paths.breakdown, paths.top_values
    );
  end if;
end;
$$;

comment on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the most frequent transitions of paths through the sessions that started in a period, by step.
Step 1 is the first node of a path. `start_at`: paths start with the first view of this node; `end_at`: they end with
the first view of this one. Of longer paths, the first `steps` nodes are read; with `end_at` the last ones; and with
both the first and the last half, with the node "..." in place of those between. Sessions without these nodes are left
out. Rows are transitions from `source` to `target`, the most frequent `top` first; null: all. The rules are those of
PostHog. `nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`:
the names of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other
events. `wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of
the first that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of
the last view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` transitions of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.paths(
  timestamptz, timestamptz, text, text, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/paths.sql

--! Included analytics/paths/sequences.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._sequences(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _sequences.since, _sequences.until, 'UTC');
  v_names text[];
  v_node_of int[];
  v_node_of_type int[];
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_sequences.breakdown, _sequences.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('length', _sequences.length, 2, 10);
  perform common.check_count('top', coalesce(_sequences.top, 1), 1, 10000);
  if _sequences.breakdown is not null and _sequences.compared_with is not null then
    perform common.refuse(
      'CF001',
      'breakdown and compared_with are both given',
      'Give one of them: each value of a breakdown has its own rows, which can be compared.'
    );
  end if;
  select numbered.names, numbered.node_of, numbered.node_of_type into v_names, v_node_of, v_node_of_type
  from analytics._numbered_nodes(_sequences.nodes, _sequences.wildcards, _sequences.exclusions) as numbered;

  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_sequences.among, _sequences.smallest_group) as member;

  return query
  with by_person as not materialized (
    select
      path.person_id,
      case when v_by_day then width_bucket(path.started_at, v_days) else 0 end as day,
      part.nodes,
      count(*) filter (where path.is_member) as times,
      count(*) filter (where path.is_compared) as compared_times
    from analytics._session_paths(
      v_days[1], v_days[cardinality(v_days)], v_node_of, v_node_of_type, null, null, 100000, false,
      _sequences.among, _sequences.compared_with, _sequences.smallest_group
    ) as path
    cross join lateral generate_series(1, cardinality(path.nodes) - _sequences.length + 1) as place (number)
    cross join lateral (select path.nodes[place.number:place.number + _sequences.length - 1] as nodes) as part
    group by 1, 2, 3
  ),

  divided as materialized (
    select by_person.* from by_person where _sequences.breakdown is not null
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct divided.day, divided.person_id from divided where v_by_day) as listed
  ),

  -- The values of the people of each day, or of day 0.
  place as materialized (
    select person.person_id, person.day, part.value, part.is_other
    from used
    cross join lateral analytics._groups_of_use(
      _sequences.breakdown, _sequences.top_values, _sequences.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
    join (select distinct divided.person_id, divided.day from divided) as person
      on person.person_id / 4096 = part.block
      and person.day = part.day
      and get_bit(part.people, (person.person_id % 4096)::int) <> 0
    where _sequences.breakdown is not null
  ),

  valued as (
    select null::text as value, false as is_other, by_person.nodes, by_person.times, by_person.compared_times
    from by_person
    where _sequences.breakdown is null

    union all

    -- The days of a person are one.
    select place.value, place.is_other, divided.nodes, sum(divided.times)::bigint, 0
    from divided
    join place on place.person_id = divided.person_id and place.day = divided.day
    group by place.value, place.is_other, divided.person_id, divided.nodes
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.nodes,
      sum(valued.times) as times,
      count(*) filter (where valued.times > 0) as person_count,
      sum(valued.compared_times) as compared_times,
      count(*) filter (where valued.compared_times > 0) as compared_people
    from valued
    group by valued.value, valued.is_other, valued.nodes
  ),

  shown as not materialized (
    select
      counted.value, counted.is_other, counted.nodes,
      analytics._shown(counted.times::float8, counted.person_count, _sequences.smallest_group)::bigint as times,
      analytics._shown(counted.person_count, counted.person_count, _sequences.smallest_group)::bigint as person_count,
      analytics._shown(counted.compared_times::float8, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_times,
      analytics._shown(counted.compared_people, counted.compared_people, _sequences.smallest_group)::bigint
        as compared_people
    from counted
    where counted.person_count >= coalesce(_sequences.smallest_group, 1)
      or counted.compared_people >= coalesce(_sequences.smallest_group, 1)
  ),

  -- Without a breakdown there is no need to sort all of them.
  largest as (
    (
      select shown.*
      from shown
      where _sequences.breakdown is null
      order by greatest(shown.times, shown.compared_times) desc, shown.nodes
      limit _sequences.top
    )

    union all

    select
      ranked.value, ranked.is_other, ranked.nodes, ranked.times, ranked.person_count, ranked.compared_times,
      ranked.compared_people
    from (
      select
        shown.*,
        row_number() over (partition by shown.is_other, shown.value order by shown.times desc, shown.nodes) as rank
      from shown
      where _sequences.breakdown is not null
    ) as ranked
    where ranked.rank <= coalesce(_sequences.top, ranked.rank)
  )

  select
    array(
      select v_names[entry.node]
      from unnest(largest.nodes) with ordinality as entry (node, number)
      order by entry.number
    ),
    largest.times,
    largest.person_count,
    case when _sequences.compared_with is not null then largest.compared_times end,
    case when _sequences.compared_with is not null then largest.compared_people end,
    largest.value,
    largest.is_other
  from largest
  order by
    largest.is_other, largest.value is null, largest.value, greatest(largest.times, largest.compared_times) desc,
    largest.nodes;
end;
$$;

alter function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
)
owner to insights_reader;

comment on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
) is $$
Computes the result of `analytics.sequences`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._sequences_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  length int,
  wildcards text[],
  exclusions text[],
  among text,
  compared_with text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.path_sequence
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._sequences(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
owner to insights_reader;

comment on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the result of `analytics.sequences` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._sequences_shown(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst;

create or replace function analytics.sequences(
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  length int default 3,
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  among text default null,
  compared_with text default null,
  top int default 50,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.path_sequence
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._sequences(timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._sequences(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values, null
    );
  else
    return query
    select *
    from analytics._sequences_shown(
      sequences.since, sequences.until, sequences.nodes, sequences.length, sequences.wildcards, sequences.exclusions,
      sequences.among, sequences.compared_with, sequences.top, sequences.breakdown, sequences.top_values
    );
  end if;
end;
$$;

comment on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
) is $$
Returns the most frequent sequences of nodes in the sessions that started in a period.
A sequence is `length` nodes in succession, 2 to 10; every position of a session counts, the most frequent `top` first;
null: all.
`nodes`: the pages that were viewed as `item`, their `kind`, or the `course` of which they are part; `event`: the names
of all events that are not automatic; `page_or_event`: the pages that were viewed and the names of other events.
`wildcards`: names in which `*` is any number of characters; all that match are one node of this name, that of the first
that matches. `exclusions`: such names, whose views are left out. Equal nodes in succession are one, that of the last
view. Views that continue from an earlier session, and those without a node, are left out.
`among`: people of these sets now; `compared_with`: figures of other sets beside them (a person can be in both).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`, with the `top` sequences of each; for analysts, values of too few people on a day are in its rest.
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC) on which at least `analytics.setting.smallest_group` of them are active, or of the small days of a week
together; what fewer people did is left out, and figures are rounded by `analytics._shown`. As of the last refresh of
the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown node or set (names the nearest), CF008 for
more than 100 wildcards and exclusions.
$$;

grant execute on function analytics.sequences(
  timestamptz, timestamptz, text, int, text[], text[], text, text, int, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/sequences.sql

--! Included analytics/paths/transitions.sql
create or replace function analytics._transitions_of(
  first_month date,
  end_month date,
  names text[],
  node_of int[],
  top int,
  blocks int[],
  people bit(4096)[],
  smallest_group int
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
begin
  return query
  with whole as not materialized (
    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8 as elapsed
    from track.item_transition as transition
    where transition.month >= _transitions_of.first_month
      and transition.month < _transitions_of.end_month
      and transition.month not in (select stale_month.month from track.stale_transition_month as stale_month)

    union all

    select
      transition.month, transition.source_item_id, transition.target_item_id, transition.transition_count,
      transition.person_count, transition.elapsed::float8
    from track.stale_transition_month as stale_month
    cross join lateral track.month_transitions(stale_month.month) as transition
    where stale_month.month >= greatest(
        _transitions_of.first_month, (select setting.sums_kept_before from track.setting)
      )
      and stale_month.month < _transitions_of.end_month
  ),

  -- Of some people: from their sessions, which are those of all months but the ones that remain as sums.
  own as (
    select transition.*
    from (
      select min(session.started_at) as oldest, max(session.started_at) as latest
      from track.session
      where _transitions_of.blocks is not null
      having min(session.started_at) is not null
    ) as stored
    cross join lateral generate_series(
      date_trunc(
        'month',
        greatest(
          _transitions_of.first_month::timestamp, stored.oldest::timestamp,
          (select setting.sums_kept_before::timestamp from track.setting)
        )
      ),
      least(_transitions_of.end_month - 1, stored.latest::date)::timestamp,
      interval '1 month'
    ) as month
    cross join lateral track.month_transitions(
      month::date, _transitions_of.blocks, _transitions_of.people
    ) as transition
  ),

  stored as (
    select
      whole.source_item_id, whole.target_item_id, sum(whole.transition_count)::bigint as transition_count,
      sum(whole.person_count) as person_months, max(whole.person_count) as people, sum(whole.elapsed) as elapsed
    from whole
    where _transitions_of.blocks is null
      and whole.person_count >= coalesce(_transitions_of.smallest_group, 1)
    group by whole.source_item_id, whole.target_item_id

    union all

    -- Of analysts, in the months in which the others are a group too, or there are none.
    select
      own.source_item_id, own.target_item_id, own.transition_count, own.person_count, own.person_count,
      own.elapsed::float8
    from own
    left join whole
      on _transitions_of.smallest_group > 1
      and whole.month = own.month
      and whole.source_item_id = own.source_item_id
      and whole.target_item_id = own.target_item_id
    where own.person_count >= coalesce(_transitions_of.smallest_group, 1)
      and (
        whole.month is null
        or whole.person_count - own.person_count not between 1 and _transitions_of.smallest_group - 1
      )
  ),

  edge as (
    select
      _transitions_of.node_of[stored.source_item_id] as source,
      _transitions_of.node_of[stored.target_item_id] as target,
      sum(stored.transition_count)::float8 as transition_count, sum(stored.person_months)::bigint as person_months,
      -- At least as many people are in the group.
      max(stored.people)::bigint as people,
      sum(stored.elapsed) as elapsed
    from stored
    group by 1, 2
  ),

  shown as (
    select
      edge.source, edge.target, edge.people, edge.person_months,
      edge.elapsed / edge.transition_count as mean_microseconds,
      case
        when _transitions_of.smallest_group is null then edge.transition_count
        else analytics._shown(edge.transition_count, edge.people, _transitions_of.smallest_group)
      end::bigint as transition_count
    from edge
    where edge.source > 0
      and edge.target > 0
      and edge.source <> edge.target
  ),

  -- Nodes are numbered in the order of their names.
  largest as (
    select
      shown.*,
      shown.transition_count / nullif(sum(shown.transition_count) over (partition by shown.source), 0)::float8 as share
    from shown
    order by shown.transition_count desc, shown.source, shown.target
    limit _transitions_of.top
  )

  select
    _transitions_of.names[largest.source], _transitions_of.names[largest.target], largest.transition_count,
    analytics._shown(largest.person_months, largest.people, _transitions_of.smallest_group)::bigint, largest.share,
    make_interval(
      secs => analytics._shown_mean(
        largest.mean_microseconds, largest.people, _transitions_of.smallest_group
      ) / 1000000
    ),
    null::text,
    false
  from largest
  order by largest.transition_count desc, largest.source, largest.target;
end;
$$;

comment on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int) is $$
Returns the most frequent transitions of some counted people, with the privileges of the caller.
See `analytics.transitions`. Months from `first_month` until `end_month` (exclusive). `names`, `node_of`: those of
`analytics._numbered_nodes`. `blocks`, `people`: one bit per person; null: all counted people, from the sums.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions_of(date, date, text[], int[], int, int[], bit[], int)
to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._transitions(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds('month', _transitions.since, _transitions.until, 'UTC');
  v_names text[];
  v_node_of int[];
begin
  perform common.check_count('top', coalesce(_transitions.top, 1), 1, 10000);
  if _transitions.nodes in ('event', 'page_or_event') then
    perform common.refuse(
      'CF001',
      format('nodes is "%s", and the sums are those of page views', _transitions.nodes),
      'Use item, kind or course, or analytics.paths, which reads events too.'
    );
  end if;
  select numbered.names, numbered.node_of into v_names, v_node_of
  from analytics._numbered_nodes(_transitions.nodes, _transitions.wildcards, _transitions.exclusions) as numbered;

  return query
  select
    moved.source, moved.target, moved.transition_count, moved.person_months, moved.share, moved.mean_time,
    part.value, part.is_other
  from analytics._counted_groups(
    _transitions.among, _transitions.breakdown, _transitions.top_values, _transitions.smallest_group
  ) as part
  cross join lateral analytics._transitions_of(
    v_bounds[1]::date, v_bounds[cardinality(v_bounds)]::date, v_names, v_node_of, _transitions.top, part.blocks,
    part.people, _transitions.smallest_group
  ) as moved
  order by
    part.is_other, part.value is null, part.value, moved.transition_count desc, moved.source collate "C",
    moved.target collate "C";
end;
$$;

alter function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
)
owner to insights_reader;

comment on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) is $$
Computes the result of `analytics.transitions`.
`smallest_group`: transitions of an item to another by fewer people in a month are left out, others are rounded by
`analytics._shown`; null: exact figures.
$$;

grant execute on function analytics._transitions(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int, int
) to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._transitions_shown(
  since timestamptz,
  until timestamptz,
  nodes text,
  wildcards text[],
  exclusions text[],
  top int,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.transition
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._transitions(
    $1, $2, $3, $4, $5, $6, $7, $8, $9, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._transitions_shown(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
owner to insights_reader;

comment on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
) is $$
Returns the result of `analytics.transitions` for analysts: figures of groups of people, rounded.
$$;

grant execute on function analytics._transitions_shown(
  timestamptz, timestamptz, text, text[], text[], int, text, text, int
)
to insights_analyst;

create or replace function analytics.transitions(
  since timestamptz default date_trunc('month', now() at time zone 'UTC' - interval '11 months') at time zone 'UTC',
  until timestamptz default now(),
  nodes text default 'item',
  wildcards text[] default '{}',
  exclusions text[] default '{}',
  top int default 50,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.transition
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._transitions(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values, null
    );
  else
    return query
    select *
    from analytics._transitions_shown(
      transitions.since, transitions.until, transitions.nodes, transitions.wildcards, transitions.exclusions,
      transitions.top, transitions.among, transitions.breakdown, transitions.top_values
    );
  end if;
end;
$$;

comment on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int) is $$
Returns the most frequent transitions between pages that were viewed in succession, of whole months.
It reads the sums of `track.item_transition`: its cost is that of the pairs of items by month. `analytics.paths` and
`analytics.sequences` read the sessions, with steps and any days. `among`: people of these sets now, such as
`segment.power & ~cohort.beta`; `breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of
each value, of at most `top_values`; the others have `is_other`. Both read the sessions of the months, which takes
longer, and only months whose sessions are stored: those that a retention rule deleted remain as sums of all people.
The period is extended to whole months
(UTC), in which the sessions started. Figures are those of counted people. Rows are transitions from `source` to
`target`, the most frequent `top` first; null: all.
`nodes`: the pages as `item`, their `kind`, or the `course` of which they are part. `wildcards`: names in which `*` is
any number of characters; all that match are one node of this name, that of the first that matches. A transition from a
node to itself does not count, nor one of which an item has no node or matches one of the `exclusions`; `paths` and
`sequences` skip the views of such items instead.
For admins and workers, figures are exact. For analysts, a transition from an item to another counts in the months in
which at least `analytics.setting.smallest_group` people did it (of a set: and as many others, or none), and figures are
rounded by `analytics._shown`.
As of the last refresh of the sessions. Errors: CF001 for an invalid argument, CF002 for an unknown set, CF008 for more
than 100 wildcards and exclusions.
$$;

grant execute on function analytics.transitions(timestamptz, timestamptz, text, text[], text[], int, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/paths/transitions.sql

--! Included analytics/sessions/session_trend.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_trend(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_bounds constant timestamptz[] := analytics._bounds(
    _session_trend.bucket, _session_trend.since, _session_trend.until, _session_trend.zone
  );
  v_count constant int := cardinality(v_bounds) - 1;
  -- Analysts see the values of each day or shorter bucket.
  v_by_day constant boolean := analytics._is_by_day(_session_trend.breakdown, _session_trend.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_count * analytics._value_count(_session_trend.breakdown, _session_trend.top_values) > 100000 then
    perform common.refuse(
      'CF008',
      format('there are %s buckets for each value', v_count),
      'There can be 100,000 rows. Give a shorter period, a larger bucket, or fewer values.'
    );
  end if;
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_trend.among, _session_trend.smallest_group) as member;

  return query
  with started as materialized (
    select
      session.person_id, width_bucket(session.started_at, v_bounds) as bucket, session.views, session.duration,
      session.engaged,
      case
        when not v_by_day then 0
        when _session_trend.bucket in ('minute', 'hour', 'day') then width_bucket(session.started_at, v_bounds)
        else session.started_at::date - date '0001-01-01'
      end as day
    from analytics._sessions(v_bounds, _session_trend.among, _session_trend.smallest_group) as session
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct started.day, started.person_id from started where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_trend.breakdown, _session_trend.top_values, _session_trend.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  valued as (
    select null::text as value, false as is_other, started.*
    from started
    where _session_trend.breakdown is null

    union all

    select part.value, part.is_other, started.*
    from part
    join started
      on started.person_id / 4096 = part.block
      and started.day = part.day
      and get_bit(part.people, (started.person_id % 4096)::int) <> 0
    where _session_trend.breakdown is not null
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bucket,
      count(*) as session_count,
      count(distinct valued.person_id) as person_count,
      avg(valued.duration) as mean_duration,
      percentile_cont(0.5) within group (order by valued.duration) as median_duration,
      avg(valued.engaged) as mean_engaged,
      percentile_cont(0.5) within group (order by valued.engaged) as median_engaged,
      avg(valued.views)::float8 as mean_views,
      count(*) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds') as bounce_count,
      count(distinct valued.person_id) filter (where valued.views <= 1 and valued.engaged < interval '10 seconds')
        as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.bucket
  ),

  shown as (
    select
      keys.value, keys.is_other, listed.number as bucket,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_trend.smallest_group), 0
      )::bigint as person_count,
      coalesce(
        analytics._shown(
          counted.bounce_count, counted.bounced_people, _session_trend.smallest_group, counted.session_count
        ),
        0
      )::bigint as bounce_count,
      counted.person_count as exact_people, counted.mean_duration, counted.median_duration, counted.mean_engaged,
      counted.median_engaged, counted.mean_views
    from (
      select distinct counted.value, counted.is_other from counted where _session_trend.breakdown is not null
      union all
      select null, false where _session_trend.breakdown is null
    ) as keys
    cross join generate_series(1, v_count) as listed (number)
    left join counted
      on counted.value is not distinct from keys.value
      and counted.is_other = keys.is_other
      and counted.bucket = listed.number
    where v_bounds[listed.number] <= now()
  )

  select
    v_bounds[shown.bucket],
    shown.value,
    shown.is_other,
    shown.session_count,
    shown.person_count,
    shown.session_count::float8 / nullif(shown.person_count, 0),
    analytics._shown_time(shown.mean_duration, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(
      shown.median_duration, shown.exact_people, _session_trend.smallest_group, shown.mean_duration
    ),
    analytics._shown_time(shown.mean_engaged, shown.exact_people, _session_trend.smallest_group),
    analytics._shown_time(shown.median_engaged, shown.exact_people, _session_trend.smallest_group, shown.mean_engaged),
    analytics._shown_mean(shown.mean_views, shown.exact_people, _session_trend.smallest_group),
    shown.bounce_count,
    -- least() ignores a null.
    case when shown.session_count > 0 then least(shown.bounce_count::float8 / shown.session_count, 1) end,
    v_bounds[shown.bucket + 1] <= now(),
    _session_trend.zone
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bucket;
end;
$$;

alter function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
owner to insights_reader;

comment on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
) is $$
Computes the result of `analytics.session_trend`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_trend(
  text, timestamptz, timestamptz, text, text, text, int, int
)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_trend_shown(
  bucket text,
  since timestamptz,
  until timestamptz,
  zone text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_point
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_trend(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
owner to insights_reader;

comment on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns the result of `analytics.session_trend` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_trend_shown(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst;

create or replace function analytics.session_trend(
  bucket text default 'day',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default 'UTC',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_point
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_trend(text, timestamptz, timestamptz, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_trend(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values, null
    );
  else
    return query
    select *
    from analytics._session_trend_shown(
      session_trend.bucket, session_trend.since, session_trend.until, session_trend.zone, session_trend.among,
      session_trend.breakdown, session_trend.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
) is $$
Returns sessions by time bucket, with their duration, engaged time, depth and bounces.
A session counts in the bucket in which it started, from `since` until `until` (extended to whole buckets of the zone;
weeks start on Monday). A bounce is a session of at most one page view and less than 10 seconds of engaged time.
`among`: people of these sets now; `breakdown`: `set.<family>` or `trait.<name>`, of which the `top_values` values of
most people are named; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set or zone (names the nearest), CF008 for more than
100,000 buckets and values.
$$;

grant execute on function analytics.session_trend(
  text, timestamptz, timestamptz, text, text, text, int
)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_trend.sql

--! Included analytics/sessions/session_items.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_items(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds('day', _session_items.since, _session_items.until, 'UTC');
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_session_items.breakdown, _session_items.smallest_group);
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _session_items.place is null or _session_items.place not in ('entry', 'exit') then
    perform common.refuse(
      'CF001',
      format('place is "%s"', left(_session_items.place, 100)),
      'Use entry (the first item of a session) or exit (the last one).'
    );
  end if;
  perform common.check_count('top', coalesce(_session_items.top, 1), 1, 10000);
  perform common.check_count('top_values', _session_items.top_values, 1, 100);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_items.among, _session_items.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_items.among, array[v_days[1], v_days[cardinality(v_days)]], _session_items.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_items.place when 'entry' then session.entry_item_id else session.exit_item_id end as item_id,
      count(*) as session_count,
      count(*) filter (where session.view_count <= 1 and session.engaged < interval '10 seconds') as bounce_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_items.breakdown, _session_items.top_values, _session_items.smallest_group, v_blocks, v_people,
      used.days, used.people
    ) as part
  ),

  -- One row per value, person and item: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.item_id, by_person.person_id, by_person.session_count,
      by_person.bounce_count
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    where _session_items.breakdown is null
      and by_person.item_id is not null

    union all

    select
      part.value, part.is_other, by_person.item_id, by_person.person_id,
      sum(by_person.session_count)::bigint, sum(by_person.bounce_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _session_items.breakdown is not null
      and by_person.item_id is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.item_id, sum(valued.session_count) as session_count,
      count(*) as person_count,
      sum(valued.bounce_count) as bounce_count,
      count(*) filter (where valued.bounce_count > 0) as bounced_people
    from valued
    group by valued.value, valued.is_other, valued.item_id
  ),

  shown as (
    select
      counted.value, counted.is_other, counted.item_id,
      analytics._shown(counted.session_count, counted.person_count, _session_items.smallest_group)::bigint
        as session_count,
      analytics._shown(counted.person_count, counted.person_count, _session_items.smallest_group)::bigint
        as person_count,
      analytics._shown(
        counted.bounce_count, counted.bounced_people, _session_items.smallest_group, counted.session_count
      )::bigint as bounce_count
    from counted
  )

  select *
  from (
    select
      (
        row_number() over (
          partition by shown.is_other, shown.value order by shown.session_count desc, item.external_id collate "C"
        )
      )::int as rank,
      item.external_id, item.title, item.kind, shown.session_count, shown.person_count, shown.bounce_count,
      least(shown.bounce_count::float8 / shown.session_count, 1) as bounce_rate,
      shown.value, shown.is_other
    from shown
    join track.item on item.item_id = shown.item_id
    where shown.session_count > 0
  ) as ranked
  where _session_items.top is null
    or ranked.rank <= _session_items.top
  order by ranked.is_other, ranked.value is null, ranked.value, ranked.rank;
end;
$$;

alter function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
owner to insights_reader;

comment on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int) is $$
Computes the result of `analytics.session_items`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_items_shown(
  place text,
  since timestamptz,
  until timestamptz,
  among text,
  top int,
  breakdown text,
  top_values int
)
returns setof analytics.session_item
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_items(
    $1, $2, $3, $4, $5, $6, $7, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
owner to insights_reader;

comment on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the result of `analytics.session_items` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_items_shown(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst;

create or replace function analytics.session_items(
  place text default 'entry',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  top int default 10,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_items(text, timestamptz, timestamptz, text, int, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_items(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values, null
    );
  else
    return query
    select *
    from analytics._session_items_shown(
      session_items.place, session_items.since, session_items.until, session_items.among, session_items.top,
      session_items.breakdown, session_items.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int) is $$
Returns the items with which most sessions of a period start (`place` = `entry`) or end (`exit`).
The period is extended to whole days (UTC). A bounce is a session of at most one page view and less than 10 seconds of
engaged time. `among`: people of these sets now; `top` null: all items.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days (UTC; in other zones of hours) on which at least `analytics.setting.smallest_group` of them are active; a figure
of fewer people reads as 0, and others are rounded by `analytics._shown`. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_items(text, timestamptz, timestamptz, text, int, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_items.sql

--! Included analytics/sessions/session_distribution.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._session_distribution(
  measure text, since timestamptz, until timestamptz, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_days constant timestamptz[] := analytics._bounds(
    'day', _session_distribution.since, _session_distribution.until, 'UTC'
  );
  v_starts constant float8[] := case
    when _session_distribution.measure in ('engaged', 'duration') then '{0,10,30,60,180,600,1800,3600}'::float8[]
    when _session_distribution.measure = 'views' then '{0,1,2,3,4,5,10,20}'::float8[]
  end;
  v_times constant interval[] := array(
    select make_interval(secs => entry.seconds)
    from unnest(v_starts) with ordinality as entry (seconds, number)
    order by entry.number
  );
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(
    _session_distribution.breakdown, _session_distribution.smallest_group
  );
  v_visible tstzmultirange;
  v_blocks int[];
  v_people bit(4096)[];
begin
  if v_starts is null then
    perform common.refuse(
      'CF001',
      format('measure is "%s"', coalesce(left(_session_distribution.measure, 100), 'null')),
      'Use engaged or duration (in seconds), or views.'
    );
  end if;
  perform common.check_count('top_values', _session_distribution.top_values, 1, 100);

  -- Read first, so that an invalid argument is an error also when there are no sessions.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_session_distribution.among, _session_distribution.smallest_group) as member;
  if smallest_group is not null then
    v_visible := analytics._visible_periods(
      0, null, _session_distribution.among, array[v_days[1], v_days[cardinality(v_days)]],
      _session_distribution.smallest_group
    );
  end if;

  return query
  -- The sessions of `analytics._sessions`, which are counted before their values are joined: people have several each.
  with by_person as materialized (
    select
      session.person_id,
      case when v_by_day then width_bucket(session.started_at, v_days) else 0 end as day,
      case _session_distribution.measure
        when 'engaged' then width_bucket(session.engaged, v_times)
        when 'duration' then width_bucket(session.ended_at - session.started_at, v_times)
        else width_bucket(session.view_count::float8, v_starts)
      end as bin,
      count(*) as session_count
    from track.session
    where session.started_at >= v_days[1]
      and session.started_at < v_days[cardinality(v_days)]
      and session.person_id <> 0
      and (v_visible is null or session.started_at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _session_distribution.breakdown, _session_distribution.top_values, _session_distribution.smallest_group,
      v_blocks, v_people, used.days, used.people
    ) as part
  ),

  -- One row per value, person and bin: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.bin, by_person.person_id, by_person.session_count
    from by_person
    join unnest(v_blocks, v_people) as member (block, people)
      on member.block = by_person.person_id / 4096
      and get_bit(member.people, (by_person.person_id % 4096)::int) <> 0
    where _session_distribution.breakdown is null

    union all

    select
      part.value, part.is_other, by_person.bin, by_person.person_id,
      sum(by_person.session_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _session_distribution.breakdown is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.bin, sum(valued.session_count) as session_count,
      count(*) as person_count
    from valued
    group by valued.value, valued.is_other, valued.bin
  ),

  shown as (
    select
      part.value, part.is_other, listed.bin,
      coalesce(
        analytics._shown(counted.session_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as session_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _session_distribution.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _session_distribution.breakdown is not null
      union all
      select null, false where _session_distribution.breakdown is null
    ) as part
    cross join generate_series(1, cardinality(v_starts)) as listed (bin)
    left join counted
      on counted.value is not distinct from part.value
      and counted.is_other = part.is_other
      and counted.bin = listed.bin
  )

  select
    v_starts[shown.bin], v_starts[shown.bin + 1], shown.session_count, shown.person_count,
    shown.session_count
      / nullif(sum(shown.session_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.bin;
end;
$$;

alter function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
owner to insights_reader;

comment on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int) is $$
Computes the result of `analytics.session_distribution`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._session_distribution_shown(
  measure text,
  since timestamptz,
  until timestamptz,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.session_bin
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._session_distribution(
    $1, $2, $3, $4, $5, $6, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int) is $$
Returns the result of `analytics.session_distribution` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._session_distribution_shown(text, timestamptz, timestamptz, text, text, int)
to insights_analyst;

create or replace function analytics.session_distribution(
  measure text default 'engaged',
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.session_bin
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._session_distribution(text, timestamptz, timestamptz, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._session_distribution(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values, null
    );
  else
    return query
    select *
    from analytics._session_distribution_shown(
      session_distribution.measure, session_distribution.since, session_distribution.until,
      session_distribution.among, session_distribution.breakdown, session_distribution.top_values
    );
  end if;
end;
$$;

comment on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int) is $$
Returns how many sessions have which engaged time, duration or number of page views.
`measure`: `engaged` and `duration`, in bins of 0, 10, 30 seconds and 1, 3, 10, 30 and 60 minutes, or `views`. A session
counts when it started from `since` until `until` (extended to whole days, UTC). `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them are active; a bin of fewer people reads as 0, others
are rounded by `analytics._shown`, and shares are computed from these numbers. As of the last refresh of the sessions.
Errors: CF001 for an invalid argument, CF002 for an unknown set (names the nearest).
$$;

grant execute on function analytics.session_distribution(text, timestamptz, timestamptz, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/sessions/session_distribution.sql

--! Included analytics/learning/hour_of_week.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._hour_of_week(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int,
  smallest_group int
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set timezone to 'UTC'
set work_mem to '64MB'
as $$
declare
  v_event_type_id constant int := analytics._event_type_id(_hour_of_week.event_name);
  v_item_id constant bigint := analytics._item_id(_hour_of_week.item);
  v_items constant bigint[] := array(
    select ancestor.item_id from track.item_ancestor as ancestor where ancestor.ancestor_item_id = v_item_id
  );
  v_days constant timestamptz[] := analytics._bounds(
    'day', _hour_of_week.since, _hour_of_week.until, coalesce(_hour_of_week.zone, 'UTC')
  );
  v_bounds constant timestamptz[] := array[v_days[1], v_days[cardinality(v_days)]];
  v_visible constant tstzmultirange := case
    when smallest_group is not null then analytics._visible_periods(
      v_event_type_id, v_item_id, _hour_of_week.among, v_bounds, _hour_of_week.smallest_group
    )
  end;
  -- Analysts see the values of each day.
  v_by_day constant boolean := analytics._is_by_day(_hour_of_week.breakdown, _hour_of_week.smallest_group);
  v_blocks int[];
  v_people bit(4096)[];
begin
  perform common.check_count('top_values', _hour_of_week.top_values, 1, 100);
  -- Read first, so that an invalid argument is an error also when there are no events.
  select array_agg(member.block), array_agg(member.people) into v_blocks, v_people
  from analytics._members(_hour_of_week.among, _hour_of_week.smallest_group) as member;

  return query
  with member as materialized (
    select entry.block, entry.people from unnest(v_blocks, v_people) as entry (block, people)
  ),

  -- Zones that PostgreSQL does not know are ignored.
  local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
      where _hour_of_week.zone is null
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  happened as (
    select
      journey.person_id, coalesce(_hour_of_week.zone, local.zone, 'UTC') as zone, unnest(journey.occurred_at) as at,
      unnest(journey.item_ids) as item_id
    from analytics._journeys(
      array[v_event_type_id], v_event_type_id = 0, v_item_id is not null, v_bounds[1], v_bounds[2]
    ) as journey
    join member
      on member.block = journey.person_id / 4096
      and get_bit(member.people, (journey.person_id % 4096)::int) <> 0
    left join local on local.person_id = journey.person_id
  ),

  -- Hours since a Monday, which are computed faster than the weekday and the hour of each event.
  by_person as materialized (
    select
      happened.person_id,
      case when v_by_day then width_bucket(happened.at, v_days) else 0 end as day,
      (floor(date_part('epoch', happened.at at time zone happened.zone - timestamp '0001-01-01') / 3600)::bigint % 168)
        ::int as week_hour,
      count(*) as event_count
    from happened
    where (v_item_id is null or happened.item_id = any (v_items))
      and (v_visible is null or happened.at <@ v_visible)
    group by 1, 2, 3
  ),

  used as materialized (
    select array_agg(listed.day) as days, array_agg(listed.person_id) as people
    from (select distinct by_person.day, by_person.person_id from by_person where v_by_day) as listed
  ),

  part as materialized (
    select part.*
    from used
    cross join lateral analytics._groups_of_use(
      _hour_of_week.breakdown, _hour_of_week.top_values, _hour_of_week.smallest_group, v_blocks, v_people, used.days,
      used.people
    ) as part
  ),

  -- One row per value, person and hour: the days of a person are one.
  valued as not materialized (
    select
      null::text as value, false as is_other, by_person.week_hour, by_person.person_id, by_person.event_count
    from by_person
    where _hour_of_week.breakdown is null

    union all

    select
      part.value, part.is_other, by_person.week_hour, by_person.person_id,
      sum(by_person.event_count)::bigint
    from by_person
    join part
      on part.block = by_person.person_id / 4096
      and part.day = by_person.day
      and get_bit(part.people, (by_person.person_id % 4096)::int) <> 0
    where _hour_of_week.breakdown is not null
    group by 1, 2, 3, 4
  ),

  counted as (
    select
      valued.value, valued.is_other, valued.week_hour, sum(valued.event_count) as event_count,
      count(*) as person_count
    from valued
    group by valued.value, valued.is_other, valued.week_hour
  ),

  shown as (
    select
      every.value, every.is_other, weekday.number as weekday, hour.number as hour,
      coalesce(
        analytics._shown(counted.event_count::float8, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as event_count,
      coalesce(
        analytics._shown(counted.person_count, counted.person_count, _hour_of_week.smallest_group), 0
      )::bigint as person_count
    from (
      select distinct counted.value, counted.is_other from counted where _hour_of_week.breakdown is not null
      union all
      select null, false where _hour_of_week.breakdown is null
    ) as every
    cross join generate_series(1, 7) as weekday (number)
    cross join generate_series(0, 23) as hour (number)
    left join counted
      on counted.value is not distinct from every.value
      and counted.is_other = every.is_other
      and counted.week_hour = 24 * (weekday.number - 1) + hour.number
  )

  select
    shown.weekday, shown.hour, shown.event_count, shown.person_count,
    shown.event_count / nullif(sum(shown.event_count) over (partition by shown.is_other, shown.value), 0)::float8,
    shown.value, shown.is_other
  from shown
  order by shown.is_other, shown.value is null, shown.value, shown.weekday, shown.hour;
end;
$$;

alter function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
owner to insights_reader;

comment on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int) is $$
Computes the result of `analytics.hour_of_week`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._hour_of_week_shown(
  event_name text,
  since timestamptz,
  until timestamptz,
  zone text,
  item text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.week_hour
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._hour_of_week(
    $1, $2, $3, $4, $5, $6, $7, $8, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
owner to insights_reader;

comment on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns the result of `analytics.hour_of_week` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._hour_of_week_shown(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst;

create or replace function analytics.hour_of_week(
  event_name text default null,
  since timestamptz default date_trunc('day', now() at time zone 'UTC' - interval '84 days') at time zone 'UTC',
  until timestamptz default now(),
  zone text default null,
  item text default null,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.week_hour
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege(
    'analytics._hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int, int)',
    'execute'
  ) then
    return query
    select *
    from analytics._hour_of_week(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values, null
    );
  else
    return query
    select *
    from analytics._hour_of_week_shown(
      hour_of_week.event_name, hour_of_week.since, hour_of_week.until, hour_of_week.zone, hour_of_week.item,
      hour_of_week.among, hour_of_week.breakdown, hour_of_week.top_values
    );
  end if;
end;
$$;

comment on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int) is $$
Returns when in the week people are active: events and people by weekday and hour, in the time of each person.
For each person the zone is that of her trait `timezone`, as of now, and UTC without one; `zone`: one zone for all.
There are 168 rows: weekday 1 is Monday, hour 0 the hour after midnight. An hour that clocks repeat counts with the
other one. `event_name`: such as `Task Started` or `Task Submitted`; null: any event that is not automatic. `item`:
with what it contains. `among`: people of these sets now. The period is extended to whole days (of `zone`, or UTC).
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people on a day are in its rest (`analytics._groups_by_day`).
For admins and workers, figures are exact and include anonymous browsers. Analysts see figures of counted people, of
days on which at least `analytics.setting.smallest_group` of them did the event, or of the small days of a week
together; an hour of fewer people reads as 0, and others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF001 for an invalid argument, CF002 for an unknown event, item, set or zone (names the nearest).
$$;

grant execute on function analytics.hour_of_week(text, timestamptz, timestamptz, text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/hour_of_week.sql

--! Included analytics/learning/engagement_levels.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._engagement_levels(
  course text, kind text, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_engagement_levels.course, ''));
  -- As in Aspects.
  v_labels constant text[] := case _engagement_levels.kind
    when 'task' then '{No problems attempted yet,At least one problem attempted,All problems attempted}'
    else format('{No %1$ss viewed yet,At least one %1$s viewed,All %1$ss viewed}', _engagement_levels.kind)
  end::text[];
  v_learners bigint[];
  v_part record;
begin
  if _engagement_levels.kind is null or _engagement_levels.kind not in ('page', 'video', 'task') then
    perform common.refuse(
      'CF001', format('kind is "%s"', left(_engagement_levels.kind, 100)), 'Use page, video or task.'
    );
  end if;
  if not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ) then
    perform common.refuse(
      'CF002',
      format('course "%s" contains no %s', left(_engagement_levels.course, 100), _engagement_levels.kind),
      coalesce(
        (
          select 'It contains items of the kinds ' || string_agg(distinct item.kind, ', ') || '.'
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = v_course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;
  v_learners := analytics._enrolled_learners(
    v_course_id, _engagement_levels.among, _engagement_levels.smallest_group, false
  );
  for v_part in
    select *
    from analytics._learner_groups(
      _engagement_levels.breakdown, _engagement_levels.top_values, _engagement_levels.smallest_group, v_learners
    )
  loop
    return query
    with learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
    ),

    -- The section of an item is the part of the course that contains it, or the course.
    part as materialized (
      select
        item.item_id,
        coalesce(
          (
            select section.ancestor_item_id
            from track.item_ancestor as section
            where section.item_id = item.item_id
              and section.depth = ancestor.depth - 1
              and section.depth > 0
            limit 1
          ),
          v_course_id
        ) as section_id
      from track.item_ancestor as ancestor
      join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
      where ancestor.ancestor_item_id = v_course_id
    ),

    size as (
      select part.section_id, count(*) as item_count from part group by part.section_id
    ),

    used as (
      select entry.section_id, entry.person_id, count(*) as item_count
      from (
        select distinct part.section_id, part.item_id, item_month.part::bigint * 32768 + listed.person as person_id
        from part
        join track.item_month on item_month.item_id = part.item_id
        cross join lateral unnest(item_month.people) as listed (person)
      ) as entry
      group by entry.section_id, entry.person_id
    ),

    counted as (
      select
        size.section_id,
        case
          when coalesce(used.item_count, 0) = 0 then 1
          when used.item_count < size.item_count then 2
          else 3
        end as level,
        count(*) as person_count
      from size
      cross join learner
      left join used on used.section_id = size.section_id and used.person_id = learner.person_id
      group by 1, 2
    ),

    shown as (
      select
        size.section_id, size.item_count, listed.level,
        coalesce(
          analytics._shown(counted.person_count, counted.person_count, _engagement_levels.smallest_group), 0
        )::bigint as person_count
      from size
      cross join generate_series(1, 3) as listed (level)
      left join counted on counted.section_id = size.section_id and counted.level = listed.level
    )

    select
      item.external_id, item.title, shown.item_count, v_labels[shown.level], shown.person_count,
      shown.person_count / nullif(sum(shown.person_count) over (partition by shown.section_id), 0)::float8,
      v_part.value, v_part.is_other
    from shown
    join track.item on item.item_id = shown.section_id
    order by item.external_id collate "C", shown.level;
  end loop;
end;
$$;

alter function analytics._engagement_levels(text, text, text, text, int, int)
owner to insights_reader;

comment on function analytics._engagement_levels(text, text, text, text, int, int) is $$
Computes the result of `analytics.engagement_levels`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._engagement_levels(text, text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._engagement_levels_shown(
  course text,
  kind text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.engagement_level
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._engagement_levels(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._engagement_levels_shown(text, text, text, text, int)
owner to insights_reader;

comment on function analytics._engagement_levels_shown(text, text, text, text, int) is $$
Returns the result of `analytics.engagement_levels` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._engagement_levels_shown(text, text, text, text, int)
to insights_analyst;

create or replace function analytics.engagement_levels(
  course text,
  kind text default 'page',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._engagement_levels(text, text, text, text, int, int)', 'execute') then
    return query
    select *
    from analytics._engagement_levels(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values, null
    );
  else
    return query
    select *
    from analytics._engagement_levels_shown(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values
    );
  end if;
end;
$$;

comment on function analytics.engagement_levels(text, text, text, text, int) is $$
Returns how many learners of a course have viewed none, some or all pages of each of its sections.
The levels are those of Open edX Aspects: "No pages viewed yet", "At least one page viewed" (not all), "All pages
viewed"; with `kind` = `video` or `task` the same of videos, and of problems attempted. A section is a part of the
course that contains such items; items that are in no section are in the course itself. Learners are those who are
enrolled and have not dropped the course. An item counts as viewed or attempted with any event or page view of it.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed from
these numbers. As of the last refresh of the sessions.
Errors: CF001 for another kind, CF002 for an unknown course or set (names the nearest), and a course without such
items.
$$;

grant execute on function analytics.engagement_levels(text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/engagement_levels.sql

--! Included analytics/learning/task_deadlines.sql
/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._task_deadlines(
  course text, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_task_deadlines.course, ''));
  v_learners constant bigint[] := analytics._enrolled_learners(
    v_course_id, _task_deadlines.among, _task_deadlines.smallest_group, false
  );
  v_started constant int := (
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name = 'Task Started'
  );
  v_submitted constant int[] := array(
    select coalesce(event_type.merged_event_type_id, event_type.event_type_id)
    from track.event_type
    where event_type.name in ('Task Submitted', 'Task Completed')
  );
  v_part record;
begin
  for v_part in
    select *
    from analytics._learner_groups(
      _task_deadlines.breakdown, _task_deadlines.top_values, _task_deadlines.smallest_group, v_learners
    )
  loop
    return query
    with task as materialized (
      select item.item_id, item.external_id, item.title, item.due_at
      from track.item_ancestor as ancestor
      join track.item on item.item_id = ancestor.item_id and item.kind = 'task'
      where ancestor.ancestor_item_id = v_course_id
    ),

    learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
    ),

    happened as (
      select learner.person_id, task.item_id, journey.event_type_id = v_started as is_start, used.at
      from analytics._journeys(
        v_started || v_submitted, false, true, '0001-01-01', 'infinity', v_part.people
      ) as journey
      join learner on learner.person_id = journey.person_id
      cross join lateral unnest(journey.occurred_at, journey.item_ids) as used (at, item_id)
      join task on task.item_id = used.item_id
    ),

    done as (
      select
        happened.person_id, happened.item_id,
        min(happened.at) filter (where happened.is_start) as started_at,
        min(happened.at) filter (where not happened.is_start) as submitted_at
      from happened
      group by happened.person_id, happened.item_id
    ),

    counted as (
      select
        task.external_id, task.title, task.due_at,
        count(learner.person_id) as learner_count,
        count(done.started_at) as started_count,
        count(done.submitted_at) as submitted_count,
        count(*) filter (where done.submitted_at <= coalesce(task.due_at, 'infinity')) as on_time_count,
        count(*) filter (where done.submitted_at > task.due_at) as late_count,
        count(learner.person_id) filter (where done.submitted_at is null and task.due_at <= now()) as missing_count,
        count(learner.person_id) filter (where done.submitted_at is null and coalesce(task.due_at, 'infinity') > now())
          as floating_count,
        percentile_cont(0.5) within group (order by task.due_at - done.submitted_at) as median_lead,
        count(*) filter (where done.started_at <= done.submitted_at) as worked_count,
        percentile_cont(0.5) within group (order by done.submitted_at - done.started_at)
          filter (where done.started_at <= done.submitted_at) as median_work
      from task
      left join learner on true
      left join done on done.item_id = task.item_id and done.person_id = learner.person_id
      group by task.item_id, task.external_id, task.title, task.due_at
    )

    select
      counted.external_id,
      counted.title,
      counted.due_at,
      analytics._shown(counted.learner_count, counted.learner_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.started_count, counted.started_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.on_time_count, counted.on_time_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.late_count, counted.late_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.missing_count, counted.missing_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown(counted.floating_count, counted.floating_count, _task_deadlines.smallest_group)::bigint,
      analytics._shown_time(
        counted.median_lead, counted.submitted_count, _task_deadlines.smallest_group, counted.median_lead
      ),
      analytics._shown_time(
        counted.median_work, counted.worked_count, _task_deadlines.smallest_group, counted.median_work
      ),
      v_part.value,
      v_part.is_other
    from counted
    order by counted.due_at, counted.external_id collate "C";
  end loop;
end;
$$;

alter function analytics._task_deadlines(text, text, text, int, int) owner to insights_reader;

comment on function analytics._task_deadlines(text, text, text, int, int) is $$
Computes the result of `analytics.task_deadlines`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._task_deadlines(text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._task_deadlines_shown(
  course text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.task_deadline
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._task_deadlines(
    $1, $2, $3, $4, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._task_deadlines_shown(text, text, text, int)
owner to insights_reader;

comment on function analytics._task_deadlines_shown(text, text, text, int) is $$
Returns the result of `analytics.task_deadlines` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._task_deadlines_shown(text, text, text, int)
to insights_analyst;

create or replace function analytics.task_deadlines(
  course text,
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.task_deadline
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._task_deadlines(text, text, text, int, int)', 'execute') then
    return query
    select *
    from analytics._task_deadlines(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values, null
    );
  else
    return query
    select *
    from analytics._task_deadlines_shown(
      task_deadlines.course, task_deadlines.among, task_deadlines.breakdown, task_deadlines.top_values
    );
  end if;
end;
$$;

comment on function analytics.task_deadlines(text, text, text, int) is $$
Returns how many learners of a course submitted each of its tasks, in time or late, and how long before the deadline.
The words are those of Canvas: `on_time`, `late`, `missing` (not submitted by a deadline that has passed) and
`floating` (not submitted, without a deadline or before it). A task is submitted with the first `Task Submitted` or
`Task Completed` of the learner; a task without a deadline is submitted on time. Learners are those who are enrolled
and have not dropped the course. `median_lead`: time from the submission to the deadline, negative for late ones;
`median_work`: time from the first `Task Started` to the submission, of those who started before it.
The deadlines and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`.
The result includes every event that was stored when the function was called, also before a refresh.
Errors: CF002 for an unknown course or set (names the nearest).
$$;

grant execute on function analytics.task_deadlines(text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded analytics/learning/task_deadlines.sql

--! Included analytics/learning/_item_uses.sql
create or replace function analytics._item_uses(
  people bigint[], items bigint[], since timestamptz[], until timestamptz[]
)
returns table (person_id bigint, item_id bigint, started_at timestamptz, ended_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
-- A list of events is unnested in a nested loop, whatever the caller has set.
set enable_nestloop to on
as $$
declare
  v_queued record;
begin
  v_queued := track.queued_days('0001-01-01', 'infinity', _item_uses.people);
  return query
  with person as materialized (
    select
      entry.person_id, coalesce(entry.since, '-infinity') as since, coalesce(entry.until, 'infinity') as until
    from unnest(_item_uses.people, _item_uses.since, _item_uses.until) as entry (person_id, since, until)
  ),

  -- Each list is cut to the period of the person before it is unnested: most of its events are outside of it.
  placed as (
    select
      step.person_id, step.occurred_at, step.item_ids,
      width_bucket(person.since - interval '1 microsecond', step.occurred_at) as before,
      width_bucket(person.until, step.occurred_at) as end_place
    from person
    join track.step on step.person_id = person.person_id
    where step.person_id = any (_item_uses.people)
      and step.person_id <> all (coalesce(v_queued.people, '{}'))
      and not step.is_automatic
    offset 0
  ),

  used as (
    select listed.person_id, listed.item_id::bigint as item_id, listed.at
    from (
      select
        placed.person_id,
        unnest(placed.item_ids[placed.before + 1:placed.end_place]) as item_id,
        unnest(placed.occurred_at[placed.before + 1:placed.end_place]) as at
      from placed
      where placed.before < placed.end_place
    ) as listed
    where listed.item_id = any (_item_uses.items)

    union all

    select event.person_id, event.item_id, event.occurred_at
    from track.event
    join track.event_type on event_type.event_type_id = event.event_type_id and not event_type.is_automatic
    join track.source on source.source_id = event.source_id and not source.is_automatic
    join person on person.person_id = event.person_id and event.occurred_at between person.since and person.until
    where event.person_id = any (v_queued.people)
      and event.item_id = any (_item_uses.items)
  )

  select used.person_id, used.item_id, min(used.at), max(used.at)
  from used
  group by used.person_id, used.item_id;
end;
$$;

comment on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Returns which items people have used, with the times of the first and the last event of each.
Of these people and items, in the period of each person at the same position (both ends inclusive; null: no limit).
Automatic events are left out. People who are queued for a refresh are read from their
events, all others from their journeys, so that the result is the same before and after a refresh.
$$;

grant execute on function analytics._item_uses(bigint[], bigint[], timestamptz[], timestamptz[]) to insights_reader;
--! EndIncluded analytics/learning/_item_uses.sql

--! Included analytics/learning/_attempts.sql
create or replace function analytics._attempts(people bigint[], items bigint[], measure text)
returns table (person_id bigint, item_id bigint, attempt bigint, score numeric, scored_at timestamptz)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
-- The best plan depends on the number of people.
set plan_cache_mode to force_custom_plan
-- Events that are known from the journeys are found by their key, whatever the caller has set.
set enable_nestloop to on
as $$
declare
  v_queued constant bigint[] := coalesce(
    (track.queued_days('0001-01-01', 'infinity', _attempts.people)).people, '{}'
  );
begin
  return query
  with kind as materialized (
    select distinct
      coalesce(event_type.merged_event_type_id, event_type.event_type_id) as event_type_id,
      event_type.name in ('Question Answered', 'Task Submitted') as begins
    from track.event_type
    where event_type.name = any (
      case _attempts.measure
        when 'answers' then '{Question Answered}'::text[]
        else '{Task Submitted,Task Completed,Task Failed,Task Graded,Grade Changed,Course Completed}'::text[]
      end
    )
  ),

  -- The events to read, a few of the many of these people, are in the journeys. People who are queued are read
  -- from their events.
  found as materialized (
    select distinct listed.person_id, listed.event_type_id, listed.at, listed.item_id::bigint as item_id
    from (
      select
        step.person_id, step.event_type_id, unnest(step.occurred_at) as at, unnest(step.item_ids) as item_id
      from track.step
      where step.person_id = any (_attempts.people)
        and step.person_id <> all (v_queued)
        and step.event_type_id in (select kind.event_type_id from kind)
    ) as listed
    where listed.item_id = any (_attempts.items)
  ),

  scored as (
    select
      event.person_id, event.item_id, event.occurred_at, event.event_id, event.event_type_id, event.properties
    from found
    join track.event
      on event.person_id = found.person_id
      and event.occurred_at = found.at
      and event.item_id = found.item_id
      and event.event_type_id = found.event_type_id

    union all

    select
      event.person_id, event.item_id, event.occurred_at, event.event_id, event.event_type_id, event.properties
    from track.event
    where event.person_id = any (v_queued)
      and event.item_id = any (_attempts.items)
  ),

  happened as (
    select
      event.person_id, event.item_id, event.occurred_at, event.event_id,
      count(*) filter (where kind.begins) over (
        partition by event.person_id, event.item_id order by event.occurred_at, event.event_id
      ) as attempt,
      case
        when _attempts.measure = 'answers' then
          case event.properties -> 'correct' when 'true' then 1 when 'false' then 0 end
        when jsonb_typeof(event.properties -> 'score') = 'number' then
          case
            when (event.properties -> 'score')::numeric between 0 and 1 then (event.properties -> 'score')::numeric
          end
      end as score
    from scored as event
    join kind on kind.event_type_id = event.event_type_id
  )

  -- A grade that is changed replaces the earlier one of the same attempt.
  select distinct on (happened.person_id, happened.item_id, happened.attempt)
    happened.person_id, happened.item_id, happened.attempt, happened.score, happened.occurred_at
  from happened
  where happened.score is not null
  order by
    happened.person_id, happened.item_id, happened.attempt, happened.occurred_at desc, happened.event_id desc;
end;
$$;

comment on function analytics._attempts(bigint[], bigint[], text) is $$
Returns the scores of the attempts of people at items, from 0 to 1.
`measure` = `answers`: each `Question Answered` with a boolean `correct` is an attempt, with the score 1 or 0. `scores`:
an attempt begins with `Task Submitted`; its score is the latest `score` (a number from 0 to 1) of this event and of the
`Task Completed`, `Task Failed`, `Task Graded`, `Grade Changed` and `Course Completed` until the next submission.
Other values are ignored, and attempts without a score have no row. `attempt`: their number in order of time; 0 before
the first submission.
$$;

grant execute on function analytics._attempts(bigint[], bigint[], text) to insights_reader;
--! EndIncluded analytics/learning/_attempts.sql

--! Included analytics/clusters/_behaviour.sql
create or replace function analytics._behaviour(since date, until date)
returns table (person_id bigint, features float8[])
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set timezone to 'UTC'
set work_mem to '64MB'
-- The best plan depends on the period.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_since constant timestamptz := _behaviour.since::timestamptz;
  v_until constant timestamptz := _behaviour.until::timestamptz;
  -- Counted people who are not excluded, and may be profiled.
  v_people constant analytics.people_block[] := analytics._profiled(
    array(select row(member.block, member.people)::analytics.people_block from analytics._members(null, 1) as member)
  );
begin
  return query
  -- Zones that PostgreSQL does not know are ignored.
  with local as materialized (
    select stated.person_id, stated.zone
    from (
      select trait.person_id, trait.value #>> '{}' as zone
      from track.current_trait(null, 'timezone') as trait
    ) as stated
    join pg_timezone_names as known on known.name = stated.zone
  ),

  member as materialized (
    select listed.block, listed.people
    from unnest(v_people) as listed
  ),

  bound as (
    select
      step.person_id, step.occurred_at, step.item_ids, event_type.name ~ '(Submitted|Completed)$' as is_completion,
      coalesce(local.zone, 'UTC') as zone,
      -- Positions in the ascending times by binary search.
      width_bucket(v_since - interval '1 microsecond', step.occurred_at) + 1 as low,
      width_bucket(v_until - interval '1 microsecond', step.occurred_at) as high
    from track.step
    join track.event_type on event_type.event_type_id = step.event_type_id and not event_type.is_heartbeat
    join member
      on member.block = step.person_id / 4096
      and get_bit(member.people, (step.person_id % 4096)::int) <> 0
    left join local on local.person_id = step.person_id
    where not step.is_automatic
      and step.since >= date_trunc('year', _behaviour.since)::date
      and step.since < _behaviour.until
  ),

  used as materialized (
    select
      bound.person_id, place.item_id, bound.is_completion,
      place.at::date - _behaviour.since as day,
      date_trunc('hour', place.at at time zone bound.zone) as local_hour
    from bound
    cross join lateral unnest(
      bound.occurred_at[bound.low:bound.high], bound.item_ids[bound.low:bound.high]
    ) as place (at, item_id)
  ),

  gap as (
    select
      day.person_id, count(*) as active_days,
      max(greatest(day.day - day.previous - 1, case when day.is_last then period.days - 1 - day.day end)) as longest_gap
    from (
      select
        distinct_day.person_id, distinct_day.day,
        lag(distinct_day.day, 1, -1) over of_person as previous,
        lead(distinct_day.day) over of_person is null as is_last
      from (select distinct used.person_id, used.day from used) as distinct_day
      window of_person as (partition by distinct_day.person_id order by distinct_day.day)
    ) as day
    cross join (select _behaviour.until - _behaviour.since as days) as period
    group by day.person_id
  ),

  hour as (
    select
      active.person_id,
      count(*) as hours,
      avg((extract(isodow from active.local_hour) >= 6)::int) as weekend_share,
      avg((extract(hour from active.local_hour) >= 22 or extract(hour from active.local_hour) < 6)::int) as night_share,
      sum(cosd(15 * extract(hour from active.local_hour)::float8)) ^ 2
        + sum(sind(15 * extract(hour from active.local_hour)::float8)) ^ 2 as resultant
    from (select distinct used.person_id, used.local_hour from used) as active
    group by active.person_id
  ),

  item as (
    select
      used.person_id,
      count(distinct used.item_id) as items,
      count(distinct used.item_id) filter (where used.is_completion) as completions
    from used
    where used.item_id <> 0
    group by used.person_id
  ),

  session as (
    select
      session.person_id, count(*) as sessions, sum(extract(epoch from session.engaged)) / 60 as engaged_minutes
    from track.session
    where session.started_at >= v_since
      and session.started_at < v_until
    group by session.person_id
  )

  select
    gap.person_id,
    array[
      gap.active_days,
      gap.longest_gap,
      coalesce(session.sessions, 0) / gap.active_days::float8,
      coalesce(session.engaged_minutes, 0) / gap.active_days,
      coalesce(item.items, 0),
      coalesce(item.completions, 0),
      hour.weekend_share,
      hour.night_share,
      -- Over pairs of different hours: of n directions with the resultant R, (R² - n) / (n (n - 1)).
      coalesce((hour.resultant - hour.hours) / nullif(hour.hours * (hour.hours - 1), 0), 0)
    ]::float8[]
  from gap
  join hour on hour.person_id = gap.person_id
  left join item on item.person_id = gap.person_id
  left join session on session.person_id = gap.person_id
  where gap.person_id <> 0;
end;
$$;

comment on function analytics._behaviour(date, date) is $$
Returns the features of behaviour of the people who are active in a period, as of the last refresh of their journeys.
Of counted people, without those who have opted out of `analytics`. See `analytics._behaviour_features`.
$$;
--! EndIncluded analytics/clusters/_behaviour.sql

--! Included analytics/access/export.sql
create or replace function analytics.export(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      jsonb_build_object(
        'target', snapshot.target,
        'course', item.external_id,
        'as_of', snapshot.as_of,
        'feature', to_jsonb(snapshot.feature) - '{person_id,course_id}'::text[],
        'outcome', snapshot.outcome
      )
      order by snapshot.target, snapshot.as_of, snapshot.course_id
    )
    from analytics.snapshot
    left join track.item on item.item_id = snapshot.course_id
    where snapshot.person_id = subject.person_id
  );
  return next privacy.exported_rows('analytics.snapshot', v_rows);
  return next privacy.exported_rows(
    'analytics.prediction_target',
    (
      select jsonb_agg(prediction order by prediction ->> 'target', prediction ->> 'course')
      from analytics._export_predictions(subject) as prediction
    ),
    'Predictions about the person as of now, with the features that changed them.'
  );
  return next privacy.exported_rows(
    'analytics.cluster_member',
    (
      select jsonb_agg(
        jsonb_build_object(
          'identity', identity.external_id, 'cluster', cluster_member.name, 'description', person_set.description
        )
        order by cluster_member.identity_id
      )
      from analytics.cluster_member
      join track.identity on identity.identity_id = cluster_member.identity_id
      join track.person_set on person_set.name = cluster_member.name
      where cluster_member.identity_id = any (subject.identity_ids)
    ),
    'The cluster of people with similar behaviour.'
  );
  return next privacy.exported_rows(
    'analytics.intervention',
    (
      -- Of the author, the learner gets no name; of the learner, the author gets what she herself did.
      select jsonb_agg(
        jsonb_build_object(
          'course', item.external_id, 'action', intervention.action, 'happened_at', intervention.happened_at,
          'created_at', intervention.created_at
        )
        || case
          when intervention.identity_id = any (subject.identity_ids) then jsonb_build_object(
            'identity', identity.external_id, 'note', intervention.note, 'risk', intervention.risk
          )
          else '{}'
        end
        || case
          when intervention.created_by = any (privacy.user_names(subject))
            then jsonb_build_object('created_by', intervention.created_by)
          else '{}'
        end
        order by intervention.intervention_id
      )
      from analytics.intervention
      join track.item on item.item_id = intervention.course_id
      join track.identity on identity.identity_id = intervention.identity_id
      where intervention.identity_id = any (subject.identity_ids)
        or intervention.created_by = any (privacy.user_names(subject))
    ),
    'What teachers did about the person, with their notes, and what she did about learners as a teacher.'
  );
  return next privacy.exported_rows(
    'analytics.annotation',
    (
      select jsonb_agg(to_jsonb(annotation) - 'annotation_id' order by annotation.annotation_id)
      from analytics.annotation
      where annotation.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_query',
    (
      select jsonb_agg(
        to_jsonb(saved) || jsonb_build_object(
          'created_by', case
            when saved.created_by = any (privacy.user_names(subject)) then saved.created_by
            else 'an administrator'
          end
        )
        order by saved.name
      )
      from analytics.saved_query as saved
      where saved.created_by = any (privacy.user_names(subject))
        or exists (
          select
          from jsonb_path_query(saved.arguments, '$.** ? (@.type() == "string")') as argument
          where argument #>> '{}' = any (privacy.user_names(subject))
        )
    )
  );
  return next privacy.exported_rows(
    'analytics.saved_view',
    (
      select jsonb_agg(to_jsonb(saved_view) - 'view_id' order by saved_view.view_id)
      from analytics.saved_view
      where saved_view.created_by = any (privacy.user_names(subject))
    )
  );
  return next privacy.exported_rows(
    'analytics.cohort',
    (
      select jsonb_agg(to_jsonb(cohort) order by cohort.name)
      from analytics.cohort
      where cohort.defined_by = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function analytics.export(privacy.subject) is $$
@behavior -*
Returns the predictions about a person, their training data, the notes of teachers about her, and what she has written.
For `privacy.export_person`.
$$;
--! EndIncluded analytics/access/export.sql

--! Included recommend/interactions/_store_topics.sql
create or replace function recommend._store_topics(
  people bigint[],
  allowed bigint[],
  fresh recommend.dismissed_topic[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Rows whose first event is not among those of the person any more: it was moved, or is deleted.
  with fresh as materialized (
    select listed.*
    from unnest(_store_topics.fresh) as listed
  ),

  stored as materialized (
    select own.*
    from recommend.dismissed_topic as own
    where own.person_id = any (_store_topics.allowed)
  ),

  suspect as (
    select
      array_agg(stored.topic) as topics, array_agg(stored.dismissed_at) as dismissed_at,
      array_agg(stored.withdrawn_at) as withdrawn_at, array_agg(stored.identity_id) as identity_ids,
      array_agg(stored.first_at) as first_at
    from stored
    where not exists (
      select 1
      from fresh
      where fresh.person_id = stored.person_id
        and fresh.topic = stored.topic
        and fresh.first_at = stored.first_at
    )
  ),

  owned as materialized (
    select entry.owner_id, entry.topic, entry.dismissed_at, entry.withdrawn_at, entry.identity_id, entry.first_at
    from suspect
    cross join lateral unnest(
      suspect.topics, suspect.dismissed_at, suspect.withdrawn_at, suspect.identity_ids, suspect.first_at,
      track.people_of_identities(suspect.identity_ids, suspect.first_at)
    ) as entry (topic, dismissed_at, withdrawn_at, identity_id, first_at, owner_id)
    where entry.owner_id is not null
  ),

  present as materialized (
    select event.person_id, event.occurred_at
    from owned
    join track.event on event.person_id = owned.owner_id and event.occurred_at = owned.first_at
  ),

  said as (
    select fresh.*
    from fresh

    union all

    select owned.owner_id, owned.topic, owned.dismissed_at, owned.withdrawn_at, owned.identity_id, owned.first_at
    from owned
    where not exists (
      select 1
      from present
      where present.person_id = owned.owner_id
        and present.occurred_at = owned.first_at
    )
      and privacy.may_store(owned.owner_id, 'personalization')
  ),

  -- A row that moves to a person who is not refreshed now is added to hers.
  moved_to as (
    select distinct said.person_id, said.topic
    from said
    where said.person_id <> all (_store_topics.people)
  ),

  known as (
    select said.* from said

    union all

    select
      stored.person_id, stored.topic, stored.dismissed_at, stored.withdrawn_at, stored.identity_id, stored.first_at
    from moved_to
    join recommend.dismissed_topic as stored
      on stored.person_id = moved_to.person_id
      and stored.topic = moved_to.topic
  ),

  merged as materialized (
    select
      known.person_id,
      known.topic,
      max(known.dismissed_at) as dismissed_at,
      max(known.withdrawn_at) as withdrawn_at,
      (array_agg(known.identity_id order by known.first_at, known.identity_id))[1] as identity_id,
      min(known.first_at) as first_at
    from known
    group by known.person_id, known.topic
  ),

  deleted as (
    delete from recommend.dismissed_topic
    where dismissed_topic.person_id = any (_store_topics.people)
      and not exists (
        select 1
        from merged
        where merged.person_id = dismissed_topic.person_id
          and merged.topic = dismissed_topic.topic
      )
  )

  insert into recommend.dismissed_topic (person_id, topic, dismissed_at, withdrawn_at, identity_id, first_at)
  select merged.person_id, merged.topic, merged.dismissed_at, merged.withdrawn_at, merged.identity_id, merged.first_at
  from merged
  on conflict (person_id, topic) do update
  set
    dismissed_at = excluded.dismissed_at,
    withdrawn_at = excluded.withdrawn_at,
    identity_id = excluded.identity_id,
    first_at = excluded.first_at
  where (
    dismissed_topic.dismissed_at, dismissed_topic.withdrawn_at, dismissed_topic.identity_id, dismissed_topic.first_at
  ) is distinct from (excluded.dismissed_at, excluded.withdrawn_at, excluded.identity_id, excluded.first_at);
end;
$$;

comment on function recommend._store_topics(bigint[], bigint[], recommend.dismissed_topic[]) is $$
@behavior -*
Replaces the topics that people are not interested in by those computed from their events.
A row whose first event is deleted stays, and follows its identity. `people` are refreshed, `allowed` are those of them
whose data may be used, `fresh` is the result of the computation.
$$;
--! EndIncluded recommend/interactions/_store_topics.sql

--! Included recommend/interactions/_recomputed_of.sql
create or replace function recommend._recomputed_of(person_id bigint, items bigint[], since timestamptz)
returns table (
  item_id bigint,
  weight real,
  last_at timestamptz,
  completed_at timestamptz,
  dismissed_at timestamptz,
  dropped_at timestamptz,
  resumed_at timestamptz,
  liking real,
  liked_at timestamptz,
  known_at timestamptz,
  topic_dismissed_at timestamptz,
  withdrawn_at timestamptz,
  topic text,
  taken_at timestamptz
)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
begin
  return query
  with fresh as materialized (
    select interaction.*
    from recommend._interactions_of(
      array[_recomputed_of.person_id], _recomputed_of.items, _recomputed_of.since
    ) as interaction
  ),

  stored as materialized (
    select interaction.person_id, interaction.item_id, interaction.first_at, interaction.identity_id
    from recommend.interaction
    where interaction.person_id = _recomputed_of.person_id
      and (_recomputed_of.items is null or interaction.item_id = any (_recomputed_of.items))
  ),

  -- Stored interactions whose first event is not there any more, which the next refresh may keep.
  suspect as (
    select
      array_agg(stored.person_id) as people,
      array_agg(stored.item_id) as items,
      array_agg(stored.first_at) as first_at,
      array_agg(identity.person_id) as owners
    from stored
    join track.identity
      on identity.identity_id = coalesce(stored.identity_id, stored.person_id)
      and identity.person_id = stored.person_id
    where not exists (
      select 1
      from fresh
      where fresh.item_id = stored.item_id
        and fresh.first_at = stored.first_at
    )
  ),

  dismissed as materialized (
    select
      dismissed_topic.topic, dismissed_topic.dismissed_at, dismissed_topic.withdrawn_at, dismissed_topic.identity_id
    from recommend.dismissed_topic
    where dismissed_topic.person_id = _recomputed_of.person_id
      and _recomputed_of.since = '-infinity'
      and (
        select true
        from track.event
        where event.person_id = _recomputed_of.person_id
          and event.occurred_at = dismissed_topic.first_at
        limit 1
      ) is null
  )

  select
    fresh.item_id, fresh.weight, fresh.last_at, fresh.completed_at, fresh.dismissed_at, fresh.dropped_at,
    fresh.resumed_at, fresh.liking, fresh.liked_at, fresh.known_at, fresh.topic_dismissed_at, fresh.withdrawn_at,
    fresh.topic, null::timestamptz
  from fresh

  union all

  select
    coalesce(item.merged_item_id, item.item_id), 0, kept.last_at, kept.completed_at, kept.dismissed_at,
    kept.dropped_at, null, kept.liking, kept.liked_at, kept.known_at, kept.topic_dismissed_at, null, null,
    kept.taken_at
  from suspect
  cross join lateral recommend._kept_of(suspect.people, suspect.items, suspect.first_at, suspect.owners) as kept
  join track.item using (item_id)

  union all

  -- Topics whose events are deleted, which the next refresh keeps, too. Of a topic, only the last times are stored.
  select
    null, null, null, null, null, null, null, null, null, null, dismissed.dismissed_at, dismissed.withdrawn_at,
    dismissed.topic, null
  from dismissed
  where exists (
    select 1
    from track.identity
    where identity.identity_id = dismissed.identity_id
      and identity.person_id = _recomputed_of.person_id
  );
end;
$$;

comment on function recommend._recomputed_of(bigint, bigint[], timestamptz) is $$
@behavior -*
Returns what a person did with the given items, from her events since a time, for which stored rows are incomplete.
`items` null: all items. `since` is the time of the first event of these items. The rows with a topic and no item are
those of topics that were dismissed by name; from `-infinity`, all of them. What the next refresh keeps of deleted
events is included.
$$;

grant execute on function recommend._recomputed_of(bigint, bigint[], timestamptz)
to insights_reader, insights_learner;
--! EndIncluded recommend/interactions/_recomputed_of.sql

--! Included recommend/feedback/_answers.sql
create or replace function recommend._answers(servings recommend.impression[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_setting constant recommend.setting := (select setting from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_clicked constant int[] := recommend._event_types_named('Recommendation Clicked');
  v_named constant record := recommend._event_names();
  v_event_type_ids constant int[] := v_named.event_type_ids;
  v_events constant text[] := v_named.events;
begin
  return query
  with serving as materialized (
    select given.*
    from unnest(_answers.servings) as given
  ),

  span as materialized (
    select
      serving.person_id,
      min(serving.listed_at) - v_tolerance as since,
      max(serving.listed_at) + greatest(v_setting.serving_period, v_setting.attribution_period) as until
    from serving
    group by serving.person_id
  ),

  weighed as materialized (
    select named.event_type_id, event_weight.*
    from unnest(v_event_type_ids, v_events) as named (event_type_id, event)
    join recommend.event_weight on event_weight.event = named.event
  ),

  sent as materialized (
    select
      event.person_id, event.occurred_at, event.event_id, event.item_id, event.named_item_id,
      coalesce(event.named_event_type_id, event.event_type_id) as event_type_id,
      event.properties ->> 'servingId' as serving_id,
      weighed.completes, weighed.dismisses,
      -- With a topic, it is the dismissal of the topic that is withdrawn.
      weighed.withdraws and nullif(event.properties ->> 'topic', '') is null as withdraws,
      coalesce(
        weighed.liking,
        case
          when jsonb_typeof(event.properties -> weighed.value_property) = 'number'
            then recommend._rating_to_liking(
              (event.properties ->> weighed.value_property)::float8, weighed.value_from, weighed.value_to
            )
        end
      ) as liking
    from span
    join track.event
      on event.person_id = span.person_id
      and event.occurred_at >= span.since
      and event.occurred_at <= span.until
    left join weighed on weighed.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    where event.properties ? 'servingId'
      or weighed.completes
      or weighed.withdraws
  ),

  said as materialized (
    select
      sent.*,
      case when sent.serving_id is not null then recommend._read_serving_id(sent.serving_id) end as serving
    from sent
  ),

  -- An answer acts on the item of its event. It is one to the row when this is the item of the row, under any name.
  answered as (
    select
      serving.person_id, serving.serving_key,
      min(said.occurred_at) as seen_at,
      min(said.occurred_at) filter (
        where said.event_type_id = any (v_clicked) and (said.item_id is null or about_row.is_true)
      ) as clicked_at,
      max(said.occurred_at) filter (where said.dismisses and about_row.is_true) as dismissed_at,
      max(said.occurred_at) filter (where said.liking is not null and about_row.is_true) as liked_at,
      (
        array_agg(said.liking order by said.occurred_at desc, said.event_id desc)
        filter (where said.liking is not null and about_row.is_true)
      )[1] as liking
    from serving
    join track.item as recommended on recommended.item_id = serving.item_id
    join said
      on said.person_id = serving.person_id
      and (said.serving).serving_key = serving.serving_key
      and said.occurred_at >= serving.listed_at - v_tolerance
      and said.occurred_at <= serving.listed_at + v_setting.serving_period
    cross join lateral (
      select coalesce(
        serving.item_id in (said.item_id, said.named_item_id) or recommended.merged_item_id = said.item_id, false
      ) as is_true
    ) as about_row
    group by serving.person_id, serving.serving_key
  ),

  -- Of an item as it was named, or as it is called since a merge: both change only with the event.
  about as (
    select said.person_id, said.item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.completes
      or said.withdraws

    union all

    select said.person_id, said.named_item_id, said.occurred_at, said.completes, said.withdraws
    from said
    where said.named_item_id is not null
      and (said.completes or said.withdraws)

    union all

    select enrolment.person_id, enrolled.item_id, enrolment.ended_at, true, false
    from span
    join track.enrolment on enrolment.person_id = span.person_id
    cross join lateral (values (enrolment.item_id), (enrolment.named_item_id)) as enrolled (item_id)
    where enrolment.status = 'completed'
  ),

  withdrawn as (
    select by_row.person_id, by_row.serving_key, max(by_row.occurred_at) as withdrawn_at
    from (
      select serving.person_id, serving.serving_key, serving.listed_at, about.occurred_at
      from serving
      join about
        on about.person_id = serving.person_id
        and about.item_id = serving.item_id
      where about.withdraws

      union all

      -- Of a row under an earlier name of the item.
      select serving.person_id, serving.serving_key, serving.listed_at, said.occurred_at
      from serving
      join track.item as recommended on recommended.item_id = serving.item_id
      join said
        on said.person_id = serving.person_id
        and (said.serving).serving_key = serving.serving_key
        and said.item_id = recommended.merged_item_id
      where said.withdraws
    ) as by_row
    where by_row.occurred_at >= by_row.listed_at
      and by_row.occurred_at <= by_row.listed_at + v_setting.serving_period
    group by by_row.person_id, by_row.serving_key
  ),

  completed as (
    select serving.person_id, serving.serving_key, min(about.occurred_at) as completed_at
    from serving
    join about
      on about.person_id = serving.person_id
      and about.item_id = serving.item_id
      and about.occurred_at >= serving.listed_at
      and about.occurred_at <= serving.listed_at + v_setting.attribution_period
    where about.completes
    group by serving.person_id, serving.serving_key
  )

  select
    serving.person_id, serving.serving_key, serving.identity_id, serving.model_id, serving.item_id, serving.rank,
    serving.basis, serving.propensity, serving.pool, serving.listed_at, serving.is_served,
    answered.seen_at,
    answered.clicked_at,
    case when answered.dismissed_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.dismissed_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liked_at end,
    case when answered.liked_at > coalesce(withdrawn.withdrawn_at, '-infinity') then answered.liking end,
    withdrawn.withdrawn_at,
    completed.completed_at,
    serving.experiment_id,
    serving.variation,
    serving.score,
    serving.function_name
  from serving
  left join answered
    on answered.person_id = serving.person_id
    and answered.serving_key = serving.serving_key
  left join withdrawn
    on withdrawn.person_id = serving.person_id
    and withdrawn.serving_key = serving.serving_key
  left join completed
    on completed.person_id = serving.person_id
    and completed.serving_key = serving.serving_key;
end;
$$;

comment on function recommend._answers(recommend.impression[]) is $$
@behavior -*
Computes the answers of people to rows of lists from all of their events, as `recommend.impression` describes them.
The people are those of the rows; the answers in the rows themselves are ignored.
$$;
--! EndIncluded recommend/feedback/_answers.sql

--! Included recommend/evaluation/_check_session.sql
create or replace function recommend._check_session(
  what text,
  -- Those of the definers that train and evaluate.
  tables text[] default '{coded,coded\\_item,trained\\_part,owned,entry,all\\_row,held\\_row,train\\_row,resampled,'
    'gain,tested,cell,\\_learn\\_%}'
)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_table constant text := (
    select relation.relname
    from pg_class as relation
    where relation.relnamespace = pg_my_temp_schema()
      and relation.relname like any (_check_session.tables)
    order by relation.relname
    limit 1
  );
begin
  if current_setting('transaction_read_only')::boolean then
    perform common.refuse('25006', format('cannot %s in a read-only transaction', _check_session.what),
      'Call it in a transaction that may write, on the primary server.');
  elsif v_table is not null then
    perform common.refuse('CF001', format('this session has a temporary table "%s"', left(v_table, 100)),
      'This function uses a temporary table of this name: rename or drop it.');
  end if;
end;
$$;

comment on function recommend._check_session(text, text[]) is $$
@behavior -*
Checks that the transaction may write, and that no temporary table of the session has a name that the caller will use.
`tables`: patterns of `like`. Errors: 25006, CF001.
$$;

grant execute on function recommend._check_session(text, text[])
to insights_learner, insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/evaluation/_check_session.sql

--! Included recommend/serving/_next_items.sql
create or replace function recommend._next_items(context recommend.person_context)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_most constant int := 5000;
  v_person_id constant bigint := (_next_items.context).person_id;
  v_used bigint[];
  v_last bigint;
  v_course bigint;
begin
  -- Without consent no data is read.
  if v_person_id is null
    or not privacy.allowed(v_person_id, 'personalization')
  then
    return '{}';
  end if;

  -- The item that was used last, of those in a course.
  v_used := array(
    select recent.item_id
    from track.event as recent
    where recent.person_id = v_person_id
      and recent.item_id is not null
    order by recent.occurred_at desc, recent.event_id desc
    limit 100
  );
  select used.item_id, container.item_id into v_last, v_course
  from unnest(v_used) with ordinality as used (item_id, place)
  cross join lateral (
    select ancestor.ancestor_item_id as item_id
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.ancestor_item_id and item.kind = 'course'
    where ancestor.item_id = used.item_id
    order by ancestor.depth
    limit 1
  ) as container
  where not exists (
    select 1
    from unnest((_next_items.context).left_out, (_next_items.context).left_out_reasons) as over (item_id, reason)
    where over.item_id = container.item_id
      and over.reason in ('completed', 'known', 'dropped', 'dismissed', 'disliked', 'own')
  )
  order by used.place
  limit 1;
  if not found then
    return '{}';
  end if;

  v_used := array(
    select distinct event.item_id
    from track.event
    where event.person_id = v_person_id
      and event.item_id is not null
  );
  return array(
    with recursive part as (
      select v_course as item_id, '{}'::numeric[] as place, 0 as depth

      union all

      -- In the order of the attribute `position`, or else in which the items were first seen.
      select
        item.item_id,
        part.place || case
          when item.attributes ->> 'position' ~ '^-?[0-9]{1,9}([.][0-9]{1,9})?$'
            then (item.attributes ->> 'position')::numeric
          else 1000000000
        end || item.item_id::numeric,
        part.depth + 1
      from part
      join track.item on item.parent_item_id = part.item_id
      where part.depth < 20
        and item.merged_item_id is null
    ),

    ordered as (
      select part.item_id, row_number() over (order by part.place) as n
      from part
      limit v_most
    ),

    leaf as (
      select
        ordered.item_id,
        ordered.n,
        ordered.n > last_used.n as is_after,
        ordered.item_id = any (v_used) as is_used
      from ordered
      cross join (
        select coalesce(max(used.n), 0) as n from ordered as used where used.item_id = v_last
      ) as last_used
      where ordered.item_id <> v_course
        and not exists (select 1 from track.item as child where child.parent_item_id = ordered.item_id)
        and ordered.item_id <> all ((_next_items.context).finished)
    )

    -- First those that follow, then those that were left out before.
    select leaf.item_id
    from leaf
    where leaf.is_after
      or not leaf.is_used
    order by leaf.is_after desc, leaf.n
    limit 200
  );
end;
$$;

comment on function recommend._next_items(recommend.person_context) is $$
@behavior -*
Returns what follows in the course that a person used last: parts without parts of their own that she has not finished.
First those after the item that was used last, in the order of the tree; then those before it that she has not used.
Empty when she has used no course among the last 100 events, or only courses that are over for her.
$$;

grant execute on function recommend._next_items(recommend.person_context) to insights_reader, insights_learner;
--! EndIncluded recommend/serving/_next_items.sql

--! Included recommend/evaluation/_test_people.sql
create or replace function recommend._test_people(evaluation recommend.evaluation, model_no int, people bigint[])
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
-- The planner does not know how many rows come from an array, and would compare all with all.
set enable_nestloop to off
set enable_mergejoin to off
set jit to off
as $$
declare
  v_id constant bigint := evaluation.evaluation_id;
  v_most constant int := (select max(k) from unnest(evaluation.k) as k);
  -- Pairs of items of a list are counted up to this length.
  v_most_pairs constant int := 50;
  v_model recommend.evaluation_model;
  v_items constant int := (
    select count(*)
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  );
  v_size int;
begin
  select * into v_model
  from recommend.evaluation_model as known
  where known.evaluation_id = v_id
    and known.model_no = _test_people.model_no;
  v_size := v_items * greatest(jsonb_array_length(v_model.parts), 1);

  with person as materialized (
    select
      person.person_id, person.items, person.strengths, person.left_out, person.relevant, person.asked_at,
      person.candidates
    from recommend.evaluation_person as person
    where person.evaluation_id = v_id
      and person.person_id = any (_test_people.people)
  ),

  item as materialized (
    select
      item.item_no,
      item.available_from,
      item.available_until,
      item.people,
      bit_count(item.people)::float8 as sampled,
      greatest(item.person_count, 1)::float8 / greatest(evaluation.train_people, 1) as share,
      item.person_count,
      case v_model.prior
        when 'popularity' then item.strength
        when 'trending' then item.recent_strength
        else extract(epoch from item.available_from)::float8
      end as prior
    from recommend.evaluation_item as item
    where item.evaluation_id = v_id
  ),

  part as (
    select entry.place as part, entry.history_decay
    from rows from (
      jsonb_populate_recordset(null::recommend.part, v_model.parts)
    ) with ordinality as entry (algorithm, parameters, history_decay, share, place)
  ),

  -- The items of a person in all parts, as a vector.
  history as materialized (
    select
      entry.person_id,
      format('{%s}/%s', string_agg(format('%s:%s', entry.place, entry.factor), ','), v_size)::sparsevec as v
    from (
      select
        person.person_id,
        (part.part - 1) * v_items + used.item_no as place,
        (used.strength * part.history_decay ^ (cardinality(person.items) - used.place))::real as factor
      from person
      cross join lateral unnest(person.items, person.strengths) with ordinality as used (item_no, strength, place)
      cross join part
      -- Later factors are not numbers of single precision.
      where used.strength > 0
        and (cardinality(person.items) - used.place) * ln(part.history_decay) > -60
    ) as entry
    group by entry.person_id
  ),

  weight as materialized (
    select weight.item_no, weight.weights
    from recommend.evaluation_weight as weight
    where weight.evaluation_id = v_id
      and weight.model_no = v_model.model_no
  ),

  ranked as (
    select
      person.person_id,
      item.item_no,
      item.item_no = any (person.relevant) as is_relevant,
      row_number() over (
        partition by person.person_id
        order by coalesce(history.v <#> weight.weights, 0), item.prior desc, item.item_no
      ) as place
    from person
    join item
      on (
        person.asked_at is null
        or item.available_from <= person.asked_at and item.available_until > person.asked_at
      )
      and item.item_no <> all (person.left_out)
      and (person.candidates is null or item.item_no = any (person.candidates))
    left join history on history.person_id = person.person_id
    left join weight on weight.item_no = item.item_no
  ),

  listed as materialized (
    select
      ranked.person_id,
      array_agg(ranked.item_no order by ranked.place) filter (where ranked.place <= v_most) as list,
      array_agg(ranked.place::int order by ranked.place) filter (where ranked.is_relevant) as places
    from ranked
    where ranked.place <= v_most or ranked.is_relevant
    group by ranked.person_id
  ),

  entry as materialized (
    select listed.person_id, entry.item_no, entry.place, item.share, item.person_count, item.people, item.sampled
    from listed
    cross join lateral unnest(listed.list) with ordinality as entry (item_no, place)
    join item using (item_no)
  ),

  pair as materialized (
    select
      one.person_id,
      other.place,
      one.place as other,
      coalesce(
        bit_count(one.people & other.people) / nullif(sqrt(one.sampled * other.sampled), 0),
        0
      ) as similarity
    from entry as one
    join entry as other on other.person_id = one.person_id and other.place > one.place
    where other.place <= v_most_pairs
      and evaluation.purpose = 'evaluation'
  ),

  list_measure as (
    select
      entry.person_id,
      size.k,
      avg(-ln(entry.share) / ln(2) order by entry.place) as novelty,
      avg(entry.person_count / greatest(evaluation.train_people, 1)::float8 order by entry.place) as popularity
    from entry
    join unnest(evaluation.k) as size (k) on entry.place <= size.k
    group by entry.person_id, size.k
  ),

  pair_measure as (
    select pair.person_id, size.k, 1 - avg(pair.similarity order by pair.place, pair.other) as diversity
    from pair
    join unnest(evaluation.k) as size (k) on pair.place <= size.k
    group by pair.person_id, size.k
  ),

  profile as (
    select
      person.person_id,
      avg(item.person_count / greatest(evaluation.train_people, 1)::float8 order by used.item_no) as popularity
    from person
    cross join lateral unnest(person.items, person.strengths) as used (item_no, strength)
    join item using (item_no)
    where used.strength > 0
    group by person.person_id
  ),

  measured as (
    select
      listed.person_id,
      size.place,
      recommend._list_metrics(listed.places, size.k) || array[
        list_measure.novelty,
        coalesce(pair_measure.diversity, 0),
        list_measure.popularity,
        coalesce(profile.popularity, 0)
      ] as gains
    from listed
    cross join lateral unnest(evaluation.k) with ordinality as size (k, place)
    join list_measure on list_measure.person_id = listed.person_id and list_measure.k = size.k
    left join pair_measure on pair_measure.person_id = listed.person_id and pair_measure.k = size.k
    left join profile on profile.person_id = listed.person_id
  ),

  joined as (
    select
      listed.person_id,
      listed.list || array_fill(0, array[v_most - cardinality(listed.list)]) as list,
      array_agg(gain.value order by measured.place, gain.place) as gains
    from listed
    join measured using (person_id)
    cross join lateral unnest(measured.gains) with ordinality as gain (value, place)
    group by listed.person_id, listed.list
  )

  update recommend.evaluation_person as person
  set
    models_done = v_model.model_no,
    gains = person.gains || joined.gains,
    lists = person.lists || joined.list
  from joined
  where person.evaluation_id = v_id
    and person.person_id = joined.person_id
    and person.models_done = v_model.model_no - 1;
end;
$$;

comment on function recommend._test_people(recommend.evaluation, int, bigint[]) is $$
@behavior -*
Ranks the items for some test people by a model of an evaluation, and adds their metrics and lists to their rows.
The score of an item is the sum over the items of the person of strength, history decay and weight, as in serving; items
with equal scores, such as those the model does not know, are in the order of the prior.
$$;
--! EndIncluded recommend/evaluation/_test_people.sql

--! Included recommend/evaluation/_finish_evaluation.sql
create or replace function recommend._finish_evaluation(evaluation recommend.evaluation)
returns void
language plpgsql
volatile
set search_path from current
set max_parallel_workers_per_gather to 0
set jit to off
as $$
declare
  v_id constant bigint := (evaluation).evaluation_id;
  v_metrics constant text[] := '{precision,recall,recall_min,ndcg,ndcg_uncut,map,mrr,hit_rate,novelty,diversity,'
    'popularity,profile}';
  v_width constant int := cardinality(v_metrics);
  v_block constant int := v_width * cardinality((evaluation).k);
  v_most constant int := (select max(k) from unnest((evaluation).k) as k);
  v_smallest_group constant int := (select smallest_group from analytics.setting);
  v_segment text;
  v_people bigint[];
  v_gains vector[];
begin
  foreach v_segment in array array[''] || (evaluation).segments loop
    v_people := array(
      select person.person_id
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.relevant <> '{}'
        and (v_segment = '' or v_segment = any (person.segments))
      order by person.person_id
    );
    continue when cardinality(v_people) < case when v_segment = '' then 1 else v_smallest_group end;

    v_gains := array(
      select person.gains::vector
      from recommend.evaluation_person as person
      where person.evaluation_id = v_id
        and person.person_id = any (v_people)
      order by person.person_id
    );
    create temporary table resampled on commit drop as
    select sample.resample, mean.place::int, mean.value::float8
    from recommend._resampled_means(v_gains, (evaluation).resamples, (evaluation).seed) as sample
    cross join unnest(sample.means) with ordinality as mean (value, place);

    create temporary table tested on commit drop as
    select person.person_id, person.gains, person.lists, person.asked_at, person.candidates
    from recommend.evaluation_person as person
    where person.evaluation_id = v_id
      and person.person_id = any (v_people);
    create temporary table gain on commit drop as
    select tested.person_id, gain.place::int, gain.value
    from pg_temp.tested
    cross join lateral unnest(tested.gains) with ordinality as gain (value, place);
    analyze pg_temp.tested;
    create index on pg_temp.gain (place);
    create index on pg_temp.resampled (place);
    analyze pg_temp.gain;
    analyze pg_temp.resampled;

    create temporary table cell on commit drop as
    select
      model.model,
      model.model_no,
      size.k,
      size.place::int as k_no,
      metric.metric,
      ((model.model_no - 1) * v_block + (size.place - 1) * v_width + metric.place)::int as place
    from recommend.evaluation_model as model
    cross join unnest((evaluation).k) with ordinality as size (k, place)
    cross join unnest(v_metrics) with ordinality as metric (metric, place)
    where model.evaluation_id = v_id;

    insert into recommend.evaluation_result (
      evaluation_id, model, segment, metric, k, value, standard_error, lower, upper, people
    )
    select
      v_id, cell.model, v_segment, cell.metric, cell.k, mean.value, spread.standard_error, spread.lower, spread.upper,
      cardinality(v_people)
    from pg_temp.cell
    join (
      select place, avg(value order by person_id) as value
      from pg_temp.gain
      group by place
    ) as mean using (place)
    join (
      select
        place,
        stddev_samp(value order by resample) as standard_error,
        percentile_cont(0.025) within group (order by value) as lower,
        percentile_cont(0.975) within group (order by value) as upper
      from pg_temp.resampled
      group by place
    ) as spread using (place)
    where cell.metric <> 'profile'
      and (cell.metric <> 'diversity' or cell.k > 1 and (evaluation).purpose = 'evaluation')

    union all

    -- The change of the mean popularity from what people used to what is recommended to them.
    select
      v_id, cell.model, v_segment, 'popularity_bias', cell.k,
      (select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place)
        / nullif((select avg(value order by person_id) from pg_temp.gain where gain.place = cell.place + 1), 0) - 1,
      spread.standard_error, spread.lower, spread.upper, cardinality(v_people)
    from pg_temp.cell
    cross join lateral (
      select
        stddev_samp(ratio.value order by ratio.resample) as standard_error,
        percentile_cont(0.025) within group (order by ratio.value) as lower,
        percentile_cont(0.975) within group (order by ratio.value) as upper
      from (
        select list.resample, list.value / nullif(profile.value, 0) - 1 as value
        from pg_temp.resampled as list
        join pg_temp.resampled as profile on profile.resample = list.resample and profile.place = cell.place + 1
        where list.place = cell.place
      ) as ratio
    ) as spread
    where cell.metric = 'popularity'

    union all

    select
      v_id, covered.model, v_segment, 'coverage', covered.k, covered.items / nullif(available.items, 0)::float8,
      null, null, null, cardinality(v_people)
    from (
      select cell.model, cell.k, count(distinct entry.item_no) filter (where entry.item_no > 0) as items
      from pg_temp.cell
      cross join pg_temp.tested
      cross join lateral unnest(
        tested.lists[(cell.model_no - 1) * v_most + 1:(cell.model_no - 1) * v_most + cell.k]
      ) as entry (item_no)
      where cell.metric = 'precision'
      group by cell.model, cell.k
    ) as covered
    cross join (
      select count(*) as items
      from recommend.evaluation_item as item
      where item.evaluation_id = v_id
        and exists (
          select 1
          from pg_temp.tested
          where (
            tested.asked_at is null
            or item.available_from <= tested.asked_at and item.available_until > tested.asked_at
          )
            and (tested.candidates is null or item.item_no = any (tested.candidates))
        )
    ) as available;

    if v_segment = '' then
      insert into recommend.evaluation_comparison (
        evaluation_id, model, other_model, metric, k, difference, standard_error, lower, upper, t, p_value, verdict,
        people
      )
      select
        v_id, cell.model, other.model, cell.metric, cell.k, test.difference, test.standard_error, test.lower,
        test.upper, test.t, test.p_value, test.verdict, test.people
      from pg_temp.cell
      join pg_temp.cell as other
        on other.k = cell.k and other.metric = cell.metric and other.model_no > cell.model_no
      cross join lateral recommend._compare(
        array(
          select one.value - two.value
          from pg_temp.gain as one
          join pg_temp.gain as two on two.person_id = one.person_id and two.place = other.place
          where one.place = cell.place
          order by one.person_id
        ),
        array(
          select one.value - two.value
          from pg_temp.resampled as one
          join pg_temp.resampled as two on two.resample = one.resample and two.place = other.place
          where one.place = cell.place
          order by one.resample
        )
      ) as test
      where cell.metric <> 'profile'
        and (cell.metric <> 'diversity' or cell.k > 1)
        and ((evaluation).purpose = 'evaluation' or cell.metric = 'ndcg')
        and (evaluation).purpose <> 'search';
    end if;
    drop table pg_temp.cell, pg_temp.gain, pg_temp.resampled, pg_temp.tested;
  end loop;

  if (evaluation).purpose = 'search' then
    insert into recommend.best_parameters (
      kind, algorithm, history_decay, parameters, ndcg_at_10, evaluation_id, found_at
    )
    select distinct on (part.algorithm)
      (evaluation).kind, part.algorithm, part.history_decay, part.parameters, result.value, v_id, clock_timestamp()
    from recommend.evaluation_model as model
    join recommend.evaluation_result as result
      on result.evaluation_id = v_id and result.model = model.model and result.segment = '' and result.metric = 'ndcg'
    cross join lateral jsonb_populate_recordset(null::recommend.part, model.parts) as part
    where model.evaluation_id = v_id
    order by part.algorithm, result.value desc, model.model_no
    on conflict (kind, algorithm) do update
    set
      history_decay = excluded.history_decay,
      parameters = excluded.parameters,
      ndcg_at_10 = excluded.ndcg_at_10,
      evaluation_id = excluded.evaluation_id,
      found_at = excluded.found_at;
  end if;

  -- Rows about people are not kept.
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_id;
  delete from recommend.evaluation_weight as weight
  where weight.evaluation_id = v_id;
  delete from recommend.evaluation_item as item
  where item.evaluation_id = v_id;
  update recommend.evaluation as stored
  set state = 'finished', progress = 1, finished_at = clock_timestamp(), progressed_at = clock_timestamp()
  where stored.evaluation_id = v_id;
end;
$$;

comment on function recommend._finish_evaluation(recommend.evaluation) is $$
@behavior -*
Stores the results and the paired comparisons of an evaluation, and deletes its rows about people.
Called when all people are tested. Segments with fewer people than `analytics.setting.smallest_group` have no results.
$$;
--! EndIncluded recommend/evaluation/_finish_evaluation.sql

--! Included recommend/evaluation/_continue_evaluation.sql
create or replace function recommend._continue_evaluation(evaluation_id bigint)
returns recommend.evaluation
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  -- Pairs of a person and an item that one step ranks.
  v_most_pairs constant int := 500000;
  v_evaluation recommend.evaluation;
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  v_model_no int;
  v_models int;
  v_items int;
  v_tested numeric;
  v_people bigint[];
begin
  select * into v_evaluation
  from recommend.evaluation as known
  where known.evaluation_id = _continue_evaluation.evaluation_id;
  if v_evaluation.state = 'finished' then
    return v_evaluation;
  end if;

  -- People who have withdrawn since the start.
  v_people := array(
    select decision.person_id
    from privacy.latest_decisions('personalization') as decision
    where decision.granted <> v_by_default
  );
  delete from recommend.evaluation_person as person
  where person.evaluation_id = v_evaluation.evaluation_id
    and v_by_default = (person.person_id = any (v_people));

  select count(*), min(model.model_no) filter (where not model.is_trained)
  into v_models, v_model_no
  from recommend.evaluation_model as model
  where model.evaluation_id = v_evaluation.evaluation_id;
  if v_model_no is not null then
    perform recommend._train_evaluated(v_evaluation.evaluation_id, v_model_no);
  else
    v_items := (
      select count(*)
      from recommend.evaluation_item as item
      where item.evaluation_id = v_evaluation.evaluation_id
    );
    select min(person.models_done) + 1 into v_model_no
    from recommend.evaluation_person as person
    where person.evaluation_id = v_evaluation.evaluation_id
      and person.relevant <> '{}'
      and person.models_done < v_models;
    if v_model_no is not null then
      v_people := array(
        select person.person_id
        from recommend.evaluation_person as person
        where person.evaluation_id = v_evaluation.evaluation_id
          and person.relevant <> '{}'
          and person.models_done = v_model_no - 1
        order by person.person_id
        limit greatest(v_most_pairs / greatest(v_items, 1), 1)
      );
      perform recommend._test_people(v_evaluation, v_model_no, v_people);
    else
      perform recommend._finish_evaluation(v_evaluation);
    end if;
  end if;

  v_tested := coalesce(
    (
      select avg(person.models_done)
      from recommend.evaluation_person as person
      where person.evaluation_id = v_evaluation.evaluation_id
        and person.relevant <> '{}'
    ),
    0
  );
  -- Half of the progress is training, the other half testing.
  update recommend.evaluation as stored
  set
    progressed_at = clock_timestamp(),
    progress = case
      when stored.state = 'finished' then 1
      else 0.99 / greatest(v_models, 1) / 2 * (
        (
          select count(*)
          from recommend.evaluation_model as model
          where model.evaluation_id = stored.evaluation_id
            and model.is_trained
        )
        + v_tested
      )
    end
  where stored.evaluation_id = _continue_evaluation.evaluation_id
  returning stored.* into v_evaluation;
  return v_evaluation;
end;
$$;

comment on function recommend._continue_evaluation(bigint) is $$
@behavior -*
Does the next step of an evaluation: the training of one model, the test of one model on some people, or the results.
A step depends on what is stored, so that a run that was interrupted continues after its last committed step, with the
same results.
$$;
--! EndIncluded recommend/evaluation/_continue_evaluation.sql

--! Included recommend/learning/_relearn.sql
create or replace function recommend._relearn(model_id bigint)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_part smallint;
  v_drift float8;
  v_people int;
begin
  for v_part in select known.part from recommend._learning_parts(_relearn.model_id) as known loop
    v_drift := greatest(v_drift, recommend._relearn_part(_relearn.model_id, v_part));
    perform recommend._list_part(_relearn.model_id, v_part);
  end loop;
  v_people := (select count(*) from recommend.learned where learned.model_id = _relearn.model_id);
  update recommend.learning
  set
    drift = case when learning.update_count > 0 then v_drift else learning.drift end,
    update_count = 0,
    updated_at = clock_timestamp(),
    rebuilt_at = clock_timestamp(),
    person_count = v_people
  where learning.model_id = _relearn.model_id;
end;
$$;

comment on function recommend._relearn(bigint) is $$
@behavior -*
Computes statistics and neighbour lists of a version from its whole record, and stores the error that updates had left.
$$;
--! EndIncluded recommend/learning/_relearn.sql

--! Included recommend/feedback/serving_report.sql
/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function recommend._serving_report(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  smallest_group int
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_z constant float8 := ml.normal_quantile(0.975);
  v_since timestamptz := _serving_report.since;
  v_until timestamptz := _serving_report.until;
begin
  perform common.check_period(_serving_report.since, _serving_report.until);
  if _serving_report.by is null or _serving_report.by not in (
    'model', 'basis', 'rank', 'slot', 'variation', 'function'
  ) then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_serving_report.by, 100) || '"', 'null')),
      'Use model (version), basis, rank, slot (explored or ranked), variation (of an experiment) or function.');
  end if;
  perform recommend._check(1, _serving_report.kind);
  -- Whole weeks, so that two periods differ by a week at least.
  if _serving_report.smallest_group is not null then
    v_since := date_trunc('week', greatest(v_since, '2000-01-03'));
    v_until := date_trunc('week', least(v_until, now()) - interval '1 microsecond') + interval '7 days';
  end if;

  return query
  with listed as (
    select
      impression.*,
      case _serving_report.by
        when 'model' then model.version::text
        when 'basis' then impression.basis
        when 'rank' then impression.rank::text
        when 'variation' then experiment.experiment_key || '.' || variation.variation_key
        when 'function' then impression.function_name
        else case when impression.propensity is null then 'ranked' else 'explored' end
      end as name,
      case when _serving_report.smallest_group is not null then date_trunc('week', impression.listed_at) end as week
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    left join ml.model on model.model_id = impression.model_id
    left join experiment.experiment on experiment.experiment_id = impression.experiment_id
    left join experiment.variation
      on variation.experiment_id = impression.experiment_id
      and variation.variation = impression.variation
    left join track.person_set_blocks('counted') as counted on counted.block = impression.person_id / 4096
    where impression.listed_at >= v_since
      and impression.listed_at < v_until
      and item.kind = _serving_report.kind
      -- For analysts, only people whom no client can invent.
      and (
        _serving_report.smallest_group is null
        or get_bit(counted.people, (impression.person_id % 4096)::int) <> 0
      )
  ),

  -- Of a group, a week of few people is left out. For admins there is one group of all weeks.
  kept as (
    select cell.name, cell.week
    from (
      select listed.name, listed.week, count(distinct listed.person_id) as people
      from listed
      group by listed.name, listed.week
    ) as cell
    where cell.people >= coalesce(_serving_report.smallest_group, 1)
  ),

  counted as (
    select
      listed.name,
      count(distinct listed.person_id) as people,
      count(*) filter (where listed.is_served) as served,
      count(distinct listed.person_id) filter (where listed.is_served) as served_people,
      count(listed.seen_at) as seen,
      count(distinct listed.person_id) filter (where listed.seen_at is not null) as seen_people,
      count(listed.clicked_at) as clicked,
      count(distinct listed.person_id) filter (where listed.clicked_at is not null) as clicked_people,
      count(listed.dismissed_at) as dismissed,
      count(distinct listed.person_id) filter (where listed.dismissed_at is not null) as dismissed_people,
      count(*) filter (where listed.liking > 0) as liked,
      count(distinct listed.person_id) filter (where listed.liking > 0) as liked_people,
      count(*) filter (where listed.liking < 0) as disliked,
      count(distinct listed.person_id) filter (where listed.liking < 0) as disliked_people,
      count(listed.completed_at) filter (where listed.seen_at is not null) as completed,
      count(distinct listed.person_id) filter (where listed.seen_at is not null and listed.completed_at is not null)
        as completed_people
    from listed
    join kept
      on kept.name is not distinct from listed.name
      and kept.week is not distinct from listed.week
    group by listed.name
  ),

  shown as (
    select
      counted.name,
      figure.people,
      figure.served,
      figure.seen,
      least(figure.clicked, figure.seen) as clicked,
      least(figure.dismissed, figure.seen) as dismissed,
      figure.liked,
      figure.disliked,
      least(figure.completed, figure.seen) as completed
    from counted
    cross join lateral (
      select
        analytics.shown(counted.people, counted.people, _serving_report.smallest_group)::bigint as people,
        analytics.shown(counted.served, counted.served_people, _serving_report.smallest_group)::bigint as served,
        analytics.shown(counted.seen, counted.seen_people, _serving_report.smallest_group)::bigint as seen,
        analytics.shown(counted.clicked, counted.clicked_people, _serving_report.smallest_group)::bigint as clicked,
        analytics.shown(counted.dismissed, counted.dismissed_people, _serving_report.smallest_group)::bigint
          as dismissed,
        analytics.shown(counted.liked, counted.liked_people, _serving_report.smallest_group)::bigint as liked,
        analytics.shown(counted.disliked, counted.disliked_people, _serving_report.smallest_group)::bigint
          as disliked,
        analytics.shown(counted.completed, counted.completed_people, _serving_report.smallest_group)::bigint
          as completed
    ) as figure
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.people, shown.served, shown.seen, shown.clicked, shown.dismissed, shown.liked, shown.disliked,
    shown.completed,
    shown.clicked::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.clicked, shown.seen, v_z))[2],
    shown.dismissed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.dismissed, shown.seen, v_z))[2],
    shown.completed::float8 / nullif(shown.seen, 0),
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[1],
    (analytics.wilson_bounds(shown.completed, shown.seen, v_z))[2]
  from shown
  order by
    case when _serving_report.by in ('model', 'rank') then shown.name::int end nulls last,
    shown.name;
end;
$$;

alter function recommend._serving_report(timestamptz, timestamptz, text, text, int)
owner to insights_reader;

comment on function recommend._serving_report(timestamptz, timestamptz, text, text, int) is $$
@behavior -*
Computes the result of `recommend.serving_report`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function recommend._serving_report(timestamptz, timestamptz, text, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function recommend._serving_report_shown(
  since timestamptz, until timestamptz, by text, kind text
)
returns setof recommend.serving_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select *
  from recommend._serving_report($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function recommend._serving_report_shown(timestamptz, timestamptz, text, text) owner to insights_reader;

comment on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) is $$
@behavior -*
Returns the result of `recommend.serving_report` for analysts: figures of groups, rounded.
$$;

grant execute on function recommend._serving_report_shown(timestamptz, timestamptz, text, text) to insights_analyst;

create or replace function recommend.serving_report(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course'
)
returns setof recommend.serving_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('recommend._serving_report(timestamptz, timestamptz, text, text, int)', 'execute') then
    return query
    select *
    from recommend._serving_report(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind, null
    );
  else
    return query
    select *
    from recommend._serving_report_shown(
      serving_report.since, serving_report.until, serving_report.by, serving_report.kind
    );
  end if;
end;
$$;

comment on function recommend.serving_report(timestamptz, timestamptz, text, text) is $$
Returns how recommended items of a kind were received: served, seen, clicked, dismissed, liked, completed.
The lists are those that were made in the period. `by`: `model` (version), `basis`, `rank`, `slot` (`explored` or
`ranked`), `variation` (such as `new_order.control`: experiment and variation; null for lists in none) or `function`
(such as `serve_me`; null for rows that are known only from an event). Rows are seen when an event names them; clients
send `Recommendation Shown`. An answer that was withdrawn does not count.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a group has fewer than `analytics.setting.smallest_group` people is left out,
and numbers are rounded by `analytics.shown`.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function recommend.serving_report(timestamptz, timestamptz, text, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded recommend/feedback/serving_report.sql

--! Included recommend/access/_export_interactions.sql
create or replace function recommend._export_interactions(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    select jsonb_agg(
      to_jsonb(interaction) - '{person_id,identity_id,item_id}'::text[]
      || jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'identity', subject.names[array_position(subject.identity_ids, interaction.identity_id)]
      )
      order by interaction.first_at, interaction.item_id
    )
    from recommend.interaction
    join track.item using (item_id)
    where interaction.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.interaction', v_rows);
  v_rows := (
    select jsonb_agg(
      to_jsonb(taken) - '{person_id,identity_id,item_id}'::text[]
      || jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'identity', subject.names[array_position(subject.identity_ids, taken.identity_id)]
      )
      order by taken.first_at, taken.item_id
    )
    from recommend.taken
    join track.item using (item_id)
    where taken.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.taken', v_rows);
  v_rows := (
    select jsonb_agg(
      to_jsonb(dismissed) - '{person_id,identity_id}'::text[]
      || jsonb_build_object(
        'identity', subject.names[array_position(subject.identity_ids, dismissed.identity_id)]
      )
      order by dismissed.first_at, dismissed.topic
    )
    from recommend.dismissed_topic as dismissed
    where dismissed.person_id = subject.person_id
  );
  return next privacy.exported_rows('recommend.dismissed_topic', v_rows);
end;
$$;

comment on function recommend._export_interactions(privacy.subject) is $$
Returns what a person did with items, for `recommend.export`.
$$;
--! EndIncluded recommend/access/_export_interactions.sql

--! Included recommend/access/_export_lists.sql
create or replace function recommend._export_lists(subject privacy.subject)
returns setof privacy.exported
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows jsonb;
begin
  v_rows := (
    with impression as materialized (
      select own.*
      from recommend.impression as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      to_jsonb(impression) - '{person_id,identity_id,item_id,model_id,pool,experiment_id,variation}'::text[]
      || jsonb_build_object(
        'item', item.external_id,
        'item_title', item.title,
        'model', project.name || ' ' || model.version,
        'pool', recommend._item_names(impression.pool),
        'experiment', experiment.experiment_key,
        'variation', variation.variation_key,
        'identity', subject.names[array_position(subject.identity_ids, impression.identity_id)]
      )
      order by impression.listed_at, impression.rank, impression.serving_key
    )
    from impression
    left join track.item using (item_id)
    left join ml.model using (model_id)
    left join ml.project using (project_id)
    left join experiment.experiment using (experiment_id)
    left join experiment.variation
      on variation.experiment_id = impression.experiment_id
      and variation.variation = impression.variation
  );
  return next privacy.exported_rows('recommend.impression', v_rows);
  -- Lists since the last refresh, which stores their rows.
  return next privacy.exported_rows(
    'recommend.serving_call',
    (
      select jsonb_agg(
        to_jsonb(served) - '{person_id,identity_id,model_id}'::text[]
        || jsonb_build_object(
          'items', recommend._item_names(array(
            select (recommend._serving_content(listed.serving_id)).item_id
            from unnest(served.serving_ids) with ordinality as listed (serving_id, place)
            order by listed.place
          )),
          'identity', subject.names[array_position(subject.identity_ids, served.identity_id)]
        )
        order by served.hour_at, served.function_name, served.serving_ids
      )
      from recommend.serving_call as served
      where served.person_id = subject.person_id
    )
  );
  v_rows := (
    with learned as materialized (
      select own.*
      from recommend.learned as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      jsonb_build_object(
        'model', project.name || ' ' || model.version,
        'items', recommend._item_names(learned.item_ids),
        'strengths', to_jsonb(learned.strengths),
        'is_stale', learned.is_stale
      )
      order by learned.model_id
    )
    from learned
    join ml.model using (model_id)
    join ml.project using (project_id)
  );
  return next privacy.exported_rows('recommend.learned', v_rows);
  v_rows := (
    with tested as materialized (
      select own.*
      from recommend.evaluation_person as own
      where own.person_id = subject.person_id
    )

    select jsonb_agg(
      to_jsonb(tested) - '{person_id,items,left_out,relevant,candidates,lists}'::text[]
      || jsonb_build_object(
        'items', recommend._evaluated_names(tested.evaluation_id, tested.items),
        'left_out', recommend._evaluated_names(tested.evaluation_id, tested.left_out),
        'relevant', recommend._evaluated_names(tested.evaluation_id, tested.relevant),
        'candidates', recommend._evaluated_names(tested.evaluation_id, tested.candidates),
        'lists', recommend._evaluated_names(tested.evaluation_id, tested.lists)
      )
      order by tested.evaluation_id
    )
    from tested
    join recommend.evaluation using (evaluation_id)
  );
  return next privacy.exported_rows('recommend.evaluation_person', v_rows);
  return next privacy.exported_rows(
    'recommend.rule_log',
    (
      select jsonb_agg(
        jsonb_build_object(
          'logged_at', entry.logged_at, 'name', entry.name, 'settings', entry.settings, 'actor', entry.actor
        )
        order by entry.logged_at, entry.log_id
      )
      from recommend.rule_log as entry
      where entry.actor = any (privacy.user_names(subject))
    )
  );
  -- Models from outside can be of people, whose names are then their keys.
  return next privacy.exported_rows(
    'ml.score',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'keys', to_jsonb(score.keys), 'score', score.score
        )
        order by score.model_id, score.keys
      )
      from ml.score
      join ml.model using (model_id)
      join ml.project using (project_id)
      where score.keys && privacy.user_names(subject)
    )
  );
  return next privacy.exported_rows(
    'ml.embedding',
    (
      select jsonb_agg(
        jsonb_build_object(
          'model', project.name || ' ' || model.version, 'key', embedding.key, 'embedding', embedding.embedding::text
        )
        order by embedding.model_id, embedding.side, embedding.key
      )
      from ml.embedding
      join ml.model using (model_id)
      join ml.project using (project_id)
      where embedding.key = any (privacy.user_names(subject))
    )
  );
end;
$$;

comment on function recommend._export_lists(privacy.subject) is $$
Returns what was recommended to a person, and what models store about her, for `recommend.export`.
$$;

create or replace function recommend._item_names(item_ids bigint[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_ids) with ordinality as listed (item_id, position)
    left join track.item using (item_id)
  );
end;
$$;

comment on function recommend._item_names(bigint[]) is $$
Returns the external ids of items, in their order; null for null.
$$;

create or replace function recommend._evaluated_names(evaluation_id bigint, item_numbers int[])
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    select jsonb_agg(item.external_id order by listed.position)
    from unnest(item_numbers) with ordinality as listed (item_no, position)
    left join recommend.evaluation_item as evaluated
      on evaluated.evaluation_id = _evaluated_names.evaluation_id
      and evaluated.item_no = listed.item_no
    left join track.item on item.item_id = evaluated.item_id
  );
end;
$$;

comment on function recommend._evaluated_names(bigint, int[]) is $$
Returns the external ids of the items with the given numbers in an evaluation, in their order; null for null.
$$;
--! EndIncluded recommend/access/_export_lists.sql

--! Included monitor/relevance/position_bias.sql
/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._position_bias(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
as $$
declare
  v_period tstzrange := monitor._reported_period(
    _position_bias.since, _position_bias.until, _position_bias.kind, _position_bias.smallest_group
  );
begin
  return query
  with estimated as (
    select
      estimate.*,
      sqrt((select sum(part ^ 2) from unnest(estimate.influence) as part)) as log_error,
      (select count(*) filter (where part <> 0) from unnest(estimate.influence) as part)::float8 as buckets
    from monitor._position_estimates(
      lower(v_period), upper(v_period), _position_bias.kind, _position_bias.smallest_group
    ) as estimate
  ),

  -- A rank that few people clicked at has no estimate for analysts.
  shown as (
    select
      estimated.rank,
      analytics.shown(
        estimated.listed_count, estimated.listed_buckets, _position_bias.smallest_group
      )::bigint as listed,
      analytics.shown(
        estimated.clicked_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as clicked,
      analytics.shown(
        estimated.compared_count, estimated.clicked_buckets, _position_bias.smallest_group
      )::bigint as compared,
      case
        when estimated.clicked_buckets >= coalesce(_position_bias.smallest_group, 0)
          then exp(estimated.log_examination)
      end as examination,
      case when estimated.rank = 1 then 0 when estimated.buckets >= 10 then estimated.log_error end as log_error,
      case
        when estimated.rank = 1 then 0
        when estimated.buckets >= 10 then ml.students_t_quantile(0.975, estimated.buckets - 1)
      end as t
    from estimated
  )

  select
    shown.rank, shown.listed, shown.clicked, 
    least(shown.clicked::float8 / nullif(shown.listed, 0), 1), shown.compared,
    monitor._shown_rate(shown.examination, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * shown.log_error, _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(-shown.t * shown.log_error), _position_bias.smallest_group),
    monitor._shown_rate(shown.examination * exp(shown.t * shown.log_error), _position_bias.smallest_group)
  from shown
  order by shown.rank;
end;
$$;

alter function monitor._position_bias(timestamptz, timestamptz, text, int) owner to insights_reader;

comment on function monitor._position_bias(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.position_bias`.
`smallest_group`: about counted people, rounded; null: exact.
$$;

grant execute on function monitor._position_bias(timestamptz, timestamptz, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._position_bias_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.position_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._position_bias($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._position_bias_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._position_bias_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.position_bias` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._position_bias_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.position_bias(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.position_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._position_bias(timestamptz, timestamptz, text, int)', 'execute') then
    return query
    select * from monitor._position_bias(position_bias.since, position_bias.until, position_bias.kind, null);
  else
    return query
    select * from monitor._position_bias_shown(position_bias.since, position_bias.until, position_bias.kind);
  end if;
end;
$$;

comment on function monitor.position_bias(timestamptz, timestamptz, text) is $$
Returns how often people examine each of the first 20 ranks of lists, relative to rank 1, from recorded lists.
A click needs a row that is relevant and that was examined; lower ranks are examined less often. The examination of
ranks is estimated from clicks on equal rows (item, version, basis) that were served at different ranks: see
`monitor._position_estimates`. It holds as far as people who are served an item at rank 1 find it as relevant as those
who are served it at another rank. Intervals are of Student's t, with people as clusters, and null where fewer than
10 of 64 groups of people were served such rows.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks (from Monday, UTC), a week in which a rank was served to few people is left out, numbers are rounded by
`analytics.shown`, and estimates to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.position_bias(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/position_bias.sql

--! Included monitor/relevance/_self_information.sql
create or replace function monitor._self_information(kind text, smallest_group int)
returns table (item_id bigint, bits float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(select item.item_id from track.item where item.kind = _self_information.kind);
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _self_information.smallest_group is not null then
    select array_agg(counted.block), array_agg(counted.people) into v_blocks, v_people
    from track.person_set_blocks('counted') as counted;
  end if;

  return query
  with used as (
    select interaction.item_id, interaction.person_id
    from recommend.interaction
    where interaction.item_id = any (v_items)
      and interaction.weight > 0
      and interaction.person_id <> 0
      and _self_information.smallest_group is null

    union all

    select interaction.item_id, interaction.person_id
    from recommend.interaction
    join unnest(v_blocks, v_people) as person (block, people)
      on person.block = interaction.person_id / 4096
      and get_bit(person.people, (interaction.person_id % 4096)::int) <> 0
    where interaction.item_id = any (v_items)
      and interaction.weight > 0
      and interaction.person_id <> 0
      and _self_information.smallest_group is not null
  ),

  counted as materialized (
    select used.item_id, used.person_id, count(*) as number
    from used
    group by grouping sets ((used.item_id), (used.person_id))
  ),

  everyone as (
    select analytics.shown(count(*), count(*), _self_information.smallest_group) as people
    from counted
    where counted.person_id is not null
  )

  select
    item.item_id,
    greatest(
      0,
      ln(
        everyone.people / greatest(
          analytics.shown(counted.number, counted.number, _self_information.smallest_group),
          coalesce(_self_information.smallest_group, 1)
        )
      ) / ln(2::float8)
    )
  from track.item
  cross join everyone
  left join counted on counted.item_id = item.item_id
  where item.kind = _self_information.kind
    and everyone.people > 0;
end;
$$;

comment on function monitor._self_information(text, int) is $$
@behavior -*
Returns the self-information of each item of a kind in bits: -log2 of the share of people who used it.
Of the people who used an item of the kind, as `recommend.interaction` has them at present. An item that no person used
counts as one that one person used, with `smallest_group` as one that this number of counted people used. Zhou and
others, "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
$$;

grant execute on function monitor._self_information(text, int) to insights_reader;
--! EndIncluded monitor/relevance/_self_information.sql

--! Included monitor/relevance/relevance.sql
/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._relevance(
  since timestamptz,
  until timestamptz,
  by text,
  kind text,
  by_week boolean,
  smallest_group int
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _relevance.since, _relevance.until, _relevance.kind, _relevance.smallest_group
  );
  v_z constant float8 := ml.normal_quantile(0.975);
  v_available bigint;
begin
  if _relevance.by is null or _relevance.by not in ('all', 'model', 'basis', 'rank', 'segment', 'deployment') then
    perform common.refuse('CF001', format('by is %s', coalesce('"' || left(_relevance.by, 100) || '"', 'null')),
      'Use all, model (version), basis, rank, segment or deployment.');
  end if;
  v_available := (
    select count(*)
    from track.item
    where item.kind = _relevance.kind
      and item.merged_item_id is null
      and coalesce(item.available_from < upper(v_period), true)
      and coalesce(item.available_until > lower(v_period), true)
  );

  return query
  with summed as materialized (
    select *
    from monitor._listed_sums(
      lower(v_period), upper(v_period), _relevance.by, _relevance.kind, coalesce(_relevance.by_week, false),
      _relevance.smallest_group
    )
  ),

  whole as (
    select *
    from summed
    where summed.person_id is not null
  ),

  -- Sums, and those of squares and products, from which the variance of a quotient of sums over people follows.
  grouped as (
    select
      whole.name, whole.starts_at, count(*) as people, sum(whole.list_count) as lists,
      sum(whole.served_count) as served, sum(whole.served_count ^ 2) as served_served,
      sum(whole.seen_count) as seen, count(*) filter (where whole.seen_count > 0) as seen_people,
      sum(whole.clicked_count) as clicked, count(*) filter (where whole.clicked_count > 0) as clicked_people,
      sum(whole.completed_count) as completed, count(*) filter (where whole.completed_count > 0) as completed_people,
      sum(whole.dismissed_count) as dismissed, count(*) filter (where whole.dismissed_count > 0) as dismissed_people,
      sum(whole.liked_count) as liked, count(*) filter (where whole.liked_count > 0) as liked_people,
      sum(whole.disliked_count) as disliked, count(*) filter (where whole.disliked_count > 0) as disliked_people,
      sum(whole.viewed_count) as viewed, count(*) filter (where whole.viewed_count > 0) as viewed_people,
      sum(whole.dwell_seconds) as seconds, sum(whole.dwell_seconds ^ 2) as seconds_seconds,
      sum(whole.dwell_seconds * whole.clicked_count) as seconds_clicked,
      sum(whole.clicked_count ^ 2) as clicked_clicked,
      sum(whole.clicked_count * whole.served_count) as clicked_served,
      sum(whole.completed_count ^ 2) as completed_completed,
      sum(whole.completed_count * whole.served_count) as completed_served,
      sum(whole.dismissed_count ^ 2) as dismissed_dismissed,
      sum(whole.dismissed_count * whole.served_count) as dismissed_served
    from whole
    group by whole.name, whole.starts_at
  ),

  shown as (
    select
      grouped.name, grouped.starts_at,
      analytics.shown(grouped.people, grouped.people, _relevance.smallest_group)::bigint as people,
      analytics.shown(grouped.lists, grouped.people, _relevance.smallest_group)::bigint as lists,
      analytics.shown(grouped.served, grouped.people, _relevance.smallest_group)::bigint as served,
      analytics.shown(grouped.seen, grouped.seen_people, _relevance.smallest_group)::bigint as seen,
      analytics.shown(grouped.clicked, grouped.clicked_people, _relevance.smallest_group)::bigint as clicked,
      analytics.shown(grouped.completed, grouped.completed_people, _relevance.smallest_group)::bigint as completed,
      analytics.shown(grouped.dismissed, grouped.dismissed_people, _relevance.smallest_group)::bigint as dismissed,
      analytics.shown(grouped.liked, grouped.liked_people, _relevance.smallest_group)::bigint as liked,
      analytics.shown(grouped.disliked, grouped.disliked_people, _relevance.smallest_group)::bigint as disliked,
      analytics.shown(grouped.viewed, grouped.viewed_people, _relevance.smallest_group)::bigint as viewed,
      grouped.seconds / nullif(grouped.clicked, 0) as dwell,
      -- Of a quotient of sums over people, by the delta method.
      sqrt(greatest(
        0,
        grouped.clicked_people / nullif(grouped.clicked_people - 1, 0)::float8 * (
          grouped.seconds_seconds - 2 * grouped.seconds / nullif(grouped.clicked, 0) * grouped.seconds_clicked
            + (grouped.seconds / nullif(grouped.clicked, 0)) ^ 2 * grouped.clicked_clicked
        )
      )) / nullif(grouped.clicked, 0) as dwell_error,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.clicked, grouped.served, grouped.clicked_clicked, grouped.clicked_served,
          grouped.served_served
        ), _relevance.smallest_group
      ) as clicked_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.completed, grouped.served, grouped.completed_completed,
          grouped.completed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as completed_effect,
      monitor._shown_rate(
        monitor._design_effect(
          grouped.people, grouped.dismissed, grouped.served, grouped.dismissed_dismissed,
          grouped.dismissed_served, grouped.served_served
        ), _relevance.smallest_group
      ) as dismissed_effect
    from grouped
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _relevance.kind, _relevance.smallest_group,
      (
        select
          array_agg(
            row(cell.name, cell.starts_at, cell.rank, cell.bucket, cell.served_count, cell.clicked_count)
              ::monitor.ranked_cell
          )
        from summed as cell
        where cell.rank is not null
      )
    )
  ),

  ordered as (
    select
      item.name, item.starts_at, item.served_count as served, information.bits,
      row_number() over (partition by item.name, item.starts_at order by item.served_count desc) as place
    from summed as item
    left join monitor._self_information(_relevance.kind, _relevance.smallest_group) as information using (item_id)
    where item.item_id is not null
  ),

  -- Items that were not served are the last ones; they add to the number of items only.
  spread as (
    select
      ordered.name, ordered.starts_at, count(*) as items,
      greatest(v_available, count(*)) as available,
      sum(ordered.served) as served,
      sum(ordered.place * ordered.served) as placed,
      sum(ordered.bits * ordered.served) / sum(ordered.served) as novelty,
      sum(ordered.served) filter (where ordered.place <= ceil(greatest(v_available, 1) / 10.0)) as top_tenth
    from ordered
    group by ordered.name, ordered.starts_at
  )

  -- Rates are computed from the numbers as shown.
  select
    shown.name, shown.starts_at, shown.people, shown.lists, figure.served, shown.seen, figure.clicked,
    figure.completed, figure.dismissed, shown.liked, shown.disliked,
    figure.clicked::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[1],
    (monitor._rate_bounds(figure.clicked, figure.served, shown.clicked_effect))[2],
    case when shown.clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.lower, _relevance.smallest_group) end,
    case when shown.clicked > 0 then monitor._shown_rate(corrected.upper, _relevance.smallest_group) end,
    figure.completed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[1],
    (monitor._rate_bounds(figure.completed, figure.served, shown.completed_effect))[2],
    figure.dismissed::float8 / nullif(figure.served, 0),
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[1],
    (monitor._rate_bounds(figure.dismissed, figure.served, shown.dismissed_effect))[2],
    coalesce(spread.items, 0),
    monitor._shown_rate(coalesce(spread.items::float8 / spread.available, 0), _relevance.smallest_group),
    monitor._shown_rate(
      1 + 1.0 / spread.available - 2 * spread.placed / (spread.available * spread.served), _relevance.smallest_group
    ),
    monitor._shown_rate(spread.top_tenth / spread.served, _relevance.smallest_group),
    least(shown.viewed, shown.clicked),
    monitor._shown_rate(viewed.dwell, _relevance.smallest_group),
    case when viewed.error is not null then
      monitor._shown_rate(greatest(0, viewed.dwell - v_z * viewed.error), _relevance.smallest_group)
    end,
    monitor._shown_rate(viewed.dwell + v_z * viewed.error, _relevance.smallest_group),
    monitor._shown_rate(spread.novelty, _relevance.smallest_group)
  from shown
  cross join lateral (
    select
      shown.served,
      least(shown.clicked, shown.served) as clicked,
      least(shown.completed, shown.served) as completed,
      least(shown.dismissed, shown.served) as dismissed
  ) as figure
  -- Without page views, for lack of them or of people, there is no dwell time.
  left join lateral (
    select shown.dwell, shown.dwell_error as error where shown.viewed > 0 and shown.clicked > 0
  ) as viewed on true
  left join corrected
    on corrected.name is not distinct from shown.name
    and corrected.starts_at is not distinct from shown.starts_at
  left join spread
    on spread.name is not distinct from shown.name
    and spread.starts_at is not distinct from shown.starts_at
  order by
    case when _relevance.by in ('model', 'rank', 'deployment') then shown.name::bigint end nulls last,
    shown.name, shown.starts_at;
end;
$$;

alter function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)
owner to insights_reader;

comment on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int) is $$
@behavior -*
Computes the result of `monitor.relevance`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._relevance_shown(
  since timestamptz, until timestamptz, by text, kind text, by_week boolean
)
returns setof monitor.relevance_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._relevance($1, $2, $3, $4, $5, (select smallest_group from analytics.setting));
$$;

alter function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) owner to insights_reader;

comment on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) is $$
@behavior -*
Returns the result of `monitor.relevance` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._relevance_shown(timestamptz, timestamptz, text, text, boolean) to insights_analyst;

create or replace function monitor.relevance(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  by text default 'model',
  kind text default 'course',
  by_week boolean default false
)
returns setof monitor.relevance_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._relevance(timestamptz, timestamptz, text, text, boolean, int)', 'execute') then
    return query
    select *
    from monitor._relevance(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week, null
    );
  else
    return query
    select *
    from monitor._relevance_shown(
      relevance.since, relevance.until, relevance.by, relevance.kind, relevance.by_week
    );
  end if;
end;
$$;

comment on function monitor.relevance(timestamptz, timestamptz, text, text, boolean) is $$
Returns how relevant the recommended items of a kind were.
Clicks, dwell time, completions, dismissals, coverage, concentration and novelty, of the rows of lists that
`recommend.serve_me` and its variants recorded: rows that are known from an answer alone would be more frequent in
better lists. Rates are shares of the rows that were served. `by`: `all`, `model` (version), `basis`, `rank`, `segment`
(a person counts in each of hers) or `deployment`, of which each lasts until the next; `by_week`: for each week from
Monday, UTC. `corrected_rate` does not depend on the ranks at which rows were: see `monitor.position_bias`. Intervals
are 95 %, with people as clusters.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a group has fewer than `analytics.setting.smallest_group` people is left out, numbers are
rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `by`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.relevance(timestamptz, timestamptz, text, text, boolean)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/relevance.sql

--! Included monitor/relevance/score_drift.sql
/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._score_drift(
  since timestamptz,
  until timestamptz,
  kind text,
  reference interval,
  smallest_group int
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
set timezone to 'UTC'
set intervalstyle to 'postgres'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _score_drift.since, _score_drift.until, _score_drift.kind, _score_drift.smallest_group
  );
  v_reference interval := _score_drift.reference;
  v_version record;
begin
  if v_reference between '1 hour' and '90 days' is not true then
    perform common.refuse(
      'CF001', format('reference is %s', coalesce(v_reference::text, 'null')), 'Use 1 hour to 90 days.'
    );
  end if;
  for v_version in
    select model.model_id, coalesce(deployed.since, model.trained_at) as since
    from (
      select distinct impression.model_id
      from recommend.impression
      where impression.listed_at >= lower(v_period)
        and impression.listed_at < upper(v_period)
        and impression.is_served
    ) as served
    join ml.model using (model_id)
    join ml.project using (project_id)
    left join (
      select deployment.model_id, min(deployment.deployed_at) as since
      from ml.deployment
      group by deployment.model_id
    ) as deployed using (model_id)
    where project.name = 'recommend.' || _score_drift.kind
    order by model.version
  loop
    -- For analysts, whole weeks.
    if _score_drift.smallest_group is not null then
      v_version.since := date_trunc('week', v_version.since);
      v_reference := ceil(extract(epoch from _score_drift.reference) / 604800) * interval '7 days';
    end if;
    return query
    select shift.*
    from monitor._score_shift(
      v_version.model_id, _score_drift.kind, tstzrange(v_version.since, v_version.since + v_reference), v_period,
      _score_drift.smallest_group, null
    ) as shift;
  end loop;
end;
$$;

alter function monitor._score_drift(timestamptz, timestamptz, text, interval, int)
owner to insights_reader;

comment on function monitor._score_drift(timestamptz, timestamptz, text, interval, int) is $$
@behavior -*
Computes the result of `monitor.score_drift`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._score_drift(timestamptz, timestamptz, text, interval, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._score_drift_shown(
  since timestamptz, until timestamptz, kind text, reference interval
)
returns setof monitor.score_shift
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._score_drift($1, $2, $3, $4, (select smallest_group from analytics.setting));
$$;

alter function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) owner to insights_reader;

comment on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) is $$
@behavior -*
Returns the result of `monitor.score_drift` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._score_drift_shown(timestamptz, timestamptz, text, interval) to insights_analyst;

create or replace function monitor.score_drift(
  since timestamptz default (now() at time zone 'UTC' - interval '7 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course',
  reference interval default '7 days'
)
returns setof monitor.score_shift
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._score_drift(timestamptz, timestamptz, text, interval, int)', 'execute') then
    return query
    select *
    from monitor._score_drift(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference, null);
  else
    return query
    select *
    from monitor._score_drift_shown(score_drift.since, score_drift.until, score_drift.kind, score_drift.reference);
  end if;
end;
$$;

comment on function monitor.score_drift(timestamptz, timestamptz, text, interval) is $$
Compares the scores of recommended items in a period with those of the first days of the version, by version and basis.
The first days begin with the first deployment of the version, or with its training when it was never deployed (an arm
of an experiment), and last as long as `reference`; the period begins after them. The bins are the tenths of the scores
of the first days, the distance is the population stability index: by a rule of thumb, below 0.1 is stable, and from
0.25 on the scores are other ones (Siddiqi, Credit Risk Scorecards, 2006). By chance alone the index is about (bins -
1) * (1 / n + 1 / m) for n and m rows, and times that a variable with a chi-squared distribution (Yurdakul and Naranjo,
Statistical properties of the population stability index, Journal of Risk Model Validation 2020), from which `p_value`
follows, for the index with half a person in addition to each bin, so that it holds for few people; since a person has
many rows, n and m are those of independent rows with the same variance (Rao and Scott, The analysis of categorical
data from complex sample surveys, JASA 1981). Longer lists have lower scores: a change of their length is a shift.
For admins and workers, figures are exact and about all people. For analysts, they are about counted people, the period
and the first days are whole weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people
is left out, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period or `reference`, CF002 for a kind that no item has.
$$;

grant execute on function monitor.score_drift(timestamptz, timestamptz, text, interval)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/score_drift.sql

--! Included monitor/relevance/calibration.sql
/* A definer owned by insights_reader: it reads the impressions of people, for those who may read them. */
create or replace function monitor._calibration(
  since timestamptz,
  until timestamptz,
  kind text,
  smallest_group int
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set timezone to 'UTC'
set jit to off
-- Results of functions have no statistics.
set enable_nestloop to off
set enable_mergejoin to off
set work_mem to '64MB'
as $$
declare
  v_period constant tstzrange := monitor._reported_period(
    _calibration.since, _calibration.until, _calibration.kind, _calibration.smallest_group
  );
  v_z constant float8 := ml.normal_quantile(0.975);
begin
  return query
  with scored as materialized (
    select
      -- Of the version and the basis.
      hashtextextended(entry.basis, coalesce(entry.model_id, 0)) as key,
      entry.model_id, entry.basis, entry.person_id, entry.rank, entry.score, entry.is_clicked
    from monitor._scored(
      lower(v_period), upper(v_period), _calibration.kind, null, _calibration.smallest_group, null
    ) as entry
  ),

  named as (
    select distinct scored.key, scored.model_id, scored.basis
    from scored
  ),

  edged as (
    select
      scored.key,
      percentile_disc('{0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9}'::float8[]) within group (order by scored.score) as edges
    from scored
    group by scored.key
  ),

  -- For each row, how many of the same rank have a lower or the same score, and how many of these were clicked.
  ordered as (
    select
      scored.key, scored.person_id, scored.rank, scored.score, scored.is_clicked,
      count(*) over lower as lower, count(*) filter (where scored.is_clicked) over lower as lower_clicked,
      count(*) over same as same, count(*) filter (where scored.is_clicked) over same as same_clicked
    from scored
    window
      lower as (partition by scored.key, scored.rank order by scored.score),
      same as (partition by scored.key, scored.rank order by scored.score range current row)
  ),

  -- Rows of the other class with a lower score, equal scores as halves.
  placed as materialized (
    select
      ordered.key, ordered.person_id, ordered.rank, ordered.score, ordered.is_clicked,
      width_bucket(ordered.score, edged.edges) + 1 as tenth,
      case
        when ordered.is_clicked
          then ordered.lower - ordered.lower_clicked - 0.5::float8 * (ordered.same - ordered.same_clicked)
        else ordered.lower_clicked - 0.5::float8 * ordered.same_clicked
      end as below
    from ordered
    join edged using (key)
  ),

  -- The share of pairs in which the clicked row has the higher score.
  strata as materialized (
    select
      stratum.*, stratum.clicked * stratum.other / sum(stratum.clicked * stratum.other) over own as weight,
      stratum.below / (stratum.clicked * stratum.other) as share
    from (
      select
        placed.key, placed.rank, count(*) filter (where placed.is_clicked)::float8 as clicked,
        count(*) filter (where not placed.is_clicked)::float8 as other,
        sum(placed.below) filter (where placed.is_clicked) as below
      from placed
      group by placed.key, placed.rank
    ) as stratum
    where stratum.clicked > 0
      and stratum.other > 0
    window own as (partition by stratum.key)
  ),

  -- With what each person adds to the error of the concordance.
  portion as materialized (
    select
      placed.key, placed.person_id, placed.tenth, count(*)::float8 as served,
      count(*) filter (where placed.is_clicked)::float8 as clicked,
      min(placed.score) as least, max(placed.score) as greatest, sum(placed.score) as score,
      sum(
        strata.weight * case
          when placed.is_clicked then (placed.below / strata.other - strata.share) / strata.clicked
          else (1 - placed.below / strata.clicked - strata.share) / strata.other
        end
      ) as error
    from placed
    left join strata using (key, rank)
    group by placed.key, placed.person_id, placed.tenth
  ),

  -- 0: all tenths.
  person as (
    select
      portion.key, portion.tenth, portion.served, portion.clicked, portion.least, portion.greatest, portion.score,
      null::float8 as error
    from portion

    union all

    select
      portion.key, 0, sum(portion.served), sum(portion.clicked), min(portion.least), max(portion.greatest),
      sum(portion.score), sum(portion.error)
    from portion
    group by portion.key, portion.person_id
  ),

  grouped as (
    select
      person.key, person.tenth, count(*) as people,
      count(*) filter (where person.clicked > 0) as clicked_people,
      sum(person.served) as served, sum(person.clicked) as clicked,
      min(person.least) as least, max(person.greatest) as greatest, sum(person.score) / sum(person.served) as mean,
      monitor._design_effect(
        count(*), sum(person.clicked), sum(person.served), sum(person.clicked ^ 2),
        sum(person.clicked * person.served), sum(person.served ^ 2)
      ) as effect
    from person
    group by person.key, person.tenth
    having count(*) >= coalesce(_calibration.smallest_group, 1)
  ),

  shown as (
    select
      grouped.*,
      analytics.shown(grouped.people, grouped.people, _calibration.smallest_group)::bigint as shown_people,
      figure.served as shown_served,
      least(figure.clicked, figure.served) as shown_clicked,
      monitor._rate_bounds(
        least(figure.clicked, figure.served), figure.served,
        monitor._shown_rate(grouped.effect, _calibration.smallest_group)
      ) as bounds
    from grouped
    cross join lateral (
      select
        analytics.shown(grouped.served, grouped.people, _calibration.smallest_group)::bigint as served,
        analytics.shown(grouped.clicked, grouped.clicked_people, _calibration.smallest_group)::bigint as clicked
    ) as figure
  ),

  corrected as (
    select *
    from monitor._corrected_rates(
      lower(v_period), upper(v_period), _calibration.kind, _calibration.smallest_group,
      (
        select array_agg(
          row(cell.name, null, cell.rank, cell.bucket, cell.listed, cell.clicked)::monitor.ranked_cell
        )
        from (
          select
            format('%s %s', placed.key, coalesce(placed.tenth, 0)) as name, placed.rank,
            (placed.person_id % 64)::int as bucket, count(*)::float8 as listed,
            count(*) filter (where placed.is_clicked)::float8 as clicked
          from placed
          where placed.rank between 1 and 20
          group by grouping sets (
            (placed.key, placed.rank, (placed.person_id % 64)::int, placed.tenth),
            (placed.key, placed.rank, (placed.person_id % 64)::int)
          )
        ) as cell
      )
    )
  ),

  -- The variance with people as clusters (Obuchowski).
  concordance as (
    select
      mean.key, mean.value, greatest(0, mean.value - v_z * spread.error) as lower,
      least(1, mean.value + v_z * spread.error) as upper
    from (
      select strata.key, sum(strata.weight * strata.share) as value
      from strata
      group by strata.key
    ) as mean
    join (
      select person.key, sqrt(sum(person.error ^ 2) * count(*) / nullif(count(*) - 1, 0)) as error
      from person
      where person.error is not null
      group by person.key
    ) as spread using (key)
  )

  select
    model.version::text, named.basis, nullif(shown.tenth, 0),
    case when _calibration.smallest_group is null then shown.least end,
    monitor._shown_rate(shown.mean, _calibration.smallest_group),
    case when _calibration.smallest_group is null then shown.greatest end,
    shown.shown_people, shown.shown_served, shown.shown_clicked,
    shown.shown_clicked::float8 / nullif(shown.shown_served, 0), shown.bounds[1], shown.bounds[2],
    case when shown.shown_clicked = 0 then 0 else monitor._shown_rate(corrected.rate, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.lower, _calibration.smallest_group) end,
    case when shown.shown_clicked > 0 then monitor._shown_rate(corrected.upper, _calibration.smallest_group) end,
    monitor._shown_rate(concordance.value, _calibration.smallest_group),
    monitor._shown_rate(concordance.lower, _calibration.smallest_group),
    monitor._shown_rate(concordance.upper, _calibration.smallest_group)
  from shown
  join named using (key)
  left join ml.model using (model_id)
  left join corrected on corrected.name = format('%s %s', shown.key, shown.tenth)
  left join concordance
    on shown.tenth = 0
    and shown.shown_clicked > 0
    and concordance.key = shown.key
  order by model.version nulls last, named.basis, shown.tenth;
end;
$$;

alter function monitor._calibration(timestamptz, timestamptz, text, int) owner to insights_reader;

comment on function monitor._calibration(timestamptz, timestamptz, text, int) is $$
@behavior -*
Computes the result of `monitor.calibration`.
`smallest_group`: figures of groups of counted people (see `analytics.shown`); null: exact figures of all people.
$$;

grant execute on function monitor._calibration(timestamptz, timestamptz, text, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the impressions of people, and returns figures about groups only. */
create or replace function monitor._calibration_shown(since timestamptz, until timestamptz, kind text)
returns setof monitor.score_figures
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
  select * from monitor._calibration($1, $2, $3, (select smallest_group from analytics.setting));
$$;

alter function monitor._calibration_shown(timestamptz, timestamptz, text) owner to insights_reader;

comment on function monitor._calibration_shown(timestamptz, timestamptz, text) is $$
@behavior -*
Returns the result of `monitor.calibration` for analysts: figures of groups, rounded.
$$;

grant execute on function monitor._calibration_shown(timestamptz, timestamptz, text) to insights_analyst;

create or replace function monitor.calibration(
  since timestamptz default (now() at time zone 'UTC' - interval '28 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns setof monitor.score_figures
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('monitor._calibration(timestamptz, timestamptz, text, int)', 'execute') then
    return query
    select * from monitor._calibration(calibration.since, calibration.until, calibration.kind, null);
  else
    return query
    select * from monitor._calibration_shown(calibration.since, calibration.until, calibration.kind);
  end if;
end;
$$;

comment on function monitor.calibration(timestamptz, timestamptz, text) is $$
Returns the clicks on recommended items by the tenths of their scores, by version and basis: whether the scores order.
Scores of recommenders are sums of weights and no probabilities, so that they are compared by their order: in a good
model, `corrected_rate` rises with the tenth. Rows with high scores are at the first ranks, which people examine most,
so that `click_rate` rises in any model: see `monitor.position_bias`. `concordance` compares rows of the same rank, of
different lists: the share of pairs of a clicked and another row in which the clicked one has the higher score, the area
under the ROC curve of each rank, weighted by its pairs. Intervals are 95 %, with people as clusters (Obuchowski,
Nonparametric analysis of clustered ROC curve data, Biometrics 1997).
For admins and workers, figures are exact and about all people. For analysts, they are about counted people and whole
weeks, a week in which a version has fewer than `analytics.setting.smallest_group` people is left out, as are tenths
with fewer people, numbers are rounded by `analytics.shown`, and other figures to two significant digits.
Errors: CF001 for an invalid period, CF002 for a kind that no item has.
$$;

grant execute on function monitor.calibration(timestamptz, timestamptz, text)
to insights_analyst, insights_admin, insights_worker;
--! EndIncluded monitor/relevance/calibration.sql
