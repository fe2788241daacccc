-- Changes of structure since the last release: see migrations/README.md.

/* --- Opt-out of sale and sharing, limit of use, business days --- */

alter table privacy.purpose add column if not exists opt_in_age smallint check (opt_in_age between 0 and 30);
alter table privacy.purpose add column if not exists shares_data boolean not null default false;

comment on column privacy.purpose.opt_in_age is $$
Age in years below which a purpose needs a grant, whatever its basis (CCPA section 1798.120(c)); null: at no age.
From `minimum_age` on, the grant of the person herself is enough.
$$;
comment on column privacy.purpose.shares_data is $$
Whether data leaves the organization for the purpose: see `privacy.may_share`.
$$;

insert into privacy.purpose (
  purpose, basis, without_basis, opted_out_by_gpc, description, minimum_age, opt_in_age, shares_data
)
values
  (
    'sale', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for a consideration (CCPA section 1798.140(ad)).', 13, 16, true
  ),
  (
    'sharing', 'legitimate_interests', 'anonymize', true,
    'Giving data to others for advertising across contexts (CCPA section 1798.140(ah)).', 13, 16, true
  ),
  (
    'sensitive', 'legitimate_interests', 'anonymize', false,
    'Using sensitive data for more than the service needs (CCPA section 1798.121).', null, null, false
  )
on conflict do nothing;

alter table privacy.regime add column if not exists opt_out_days smallint check (opt_out_days between 1 and 100);
comment on column privacy.regime.opt_out_days is $$
Time for requests of the kinds `opt_out` and `limit_use`, in days from Monday to Friday, without an extension.
Null: `answer_within`. Public holidays count, so that the time is never longer than the law allows.
$$;
update privacy.regime set opt_out_days = 15 where regime = 'ccpa' and opt_out_days is null;

alter table privacy.request drop constraint if exists request_kind_check;
alter table privacy.request add constraint request_kind_check check (kind in (
  'access', 'portability', 'erasure', 'rectification', 'restriction', 'objection', 'opt_out', 'limit_use'
)) not valid;
alter table privacy.request validate constraint request_kind_check;
comment on column privacy.request.kind is $$
`access`, `portability`, `erasure`, `rectification`, `restriction`, `objection`, `opt_out` or `limit_use`.
$$;

do $$
begin
  -- Also when the block runs again, so that the set is complete after the next refresh.
  insert into track.person_set (name, description, members)
  values (
    'shareable', 'People whose data may leave the organization: see privacy.may_share.', 'track.shareable_people'
  )
  on conflict do nothing;
  if found then
    insert into track.changed (person_id, consumer, since, until)
    select person.person_id, 'track.person_set', '-infinity', 'infinity'
    from track.person
    where person.person_id <> 0;
  end if;
end;
$$;

drop function if exists privacy._ages(text[]);
drop function if exists privacy.optional_purposes();

/* --- Disclosures and pseudonyms --- */

alter table privacy.setting add column if not exists needs_read_reason boolean not null default false;
comment on column privacy.setting.needs_read_reason is $$
Whether the record of a person can be read only with a reason (`insights.read_reason`): see `privacy.disclosure`.
$$;
alter table privacy.setting add column if not exists held_names_function text
  check (held_names_function ~ '^[a-z][a-z_]*\.[a-z_]+$');
comment on column privacy.setting.held_names_function is $$
Name of the function that returns the names under which people are known, and holds them.
With its schema. It takes `people bigint[]` and returns `setof privacy.identity_name`; until the transaction ends, no
other one deletes them.
$$;
update privacy.setting set held_names_function = 'track.held_names';

create sequence if not exists privacy.read_id;

create table if not exists privacy.disclosure (
  disclosure_id uuid primary key default gen_random_uuid(),
  read_id bigint not null,
  identity_id bigint,
  subject_name text,
  read_at timestamptz not null default clock_timestamp(),
  read_by text not null,
  role text not null,
  function_name text not null,
  reason text check (length(reason) <= 200),
  salt bytea,
  ledger_position bigint
);

comment on table privacy.disclosure is $$
Reads of the records of people by others, append-only (FERPA, 34 CFR 99.32): one row per person and read.
Of a person who was merged, one for each of her names, so that each has the read after a split.
Each is written by the function that reads: see `privacy.record_disclosure`. Reads by workers are not in it.
$$;
comment on column privacy.disclosure.disclosure_id is $$Key of the disclosure.$$;
comment on column privacy.disclosure.read_id is $$
Number of the read, which the people whose records it returned have in common.
A read whose transaction was rolled back leaves a gap in these numbers.
$$;
comment on column privacy.disclosure.identity_id is $$
Identity of the person whose record was read.
The row follows it when people are merged or split. Null: a table of people was read, in a statement of an
administrator to the API.
$$;
comment on column privacy.disclosure.subject_name is $$
Name of this identity; null for a table.
$$;
comment on column privacy.disclosure.read_at is $$Time of the read.$$;
comment on column privacy.disclosure.read_by is $$
Person who read the record: the signed-in person, or else the login of the database.
$$;
comment on column privacy.disclosure.role is $$
Role of the reader, such as `instructor` or `admin`; the login, when no role was set.
$$;
comment on column privacy.disclosure.function_name is $$Function that returned the record, or table, with its schema.$$;
comment on column privacy.disclosure.reason is $$
Legitimate interest of the reader, from the setting `insights.read_reason`; null when none was given.
$$;
comment on column privacy.disclosure.salt is $$
@behavior -*
Random bytes in the commitment of `privacy.ledger`; null until the disclosure is sealed.
$$;
comment on column privacy.disclosure.ledger_position is $$
Entry of `privacy.ledger` that seals the disclosure; null until then.
$$;

create index if not exists disclosure_identity on privacy.disclosure (identity_id, read_at);
create index if not exists disclosure_unsealed on privacy.disclosure (disclosure_id) where ledger_position is null;

insert into privacy.sealed_table (kind, table_name, key_column, recorded_column, contents, description)
values (
  'disclosure', 'privacy.disclosure', 'disclosure_id', 'read_at',
  '{disclosure_id,read_id,subject_name,read_at,read_by,role,function_name,reason}',
  'Reads of the records of people.'
)
on conflict do nothing;

do $$
begin
  if to_regtype('privacy.disclosed') is null then
    create type privacy.disclosed as (
      read_at timestamptz,
      read_by text,
      role text,
      function_name text,
      reason text,
      subject_name text
    );
  end if;
end;
$$;

comment on type privacy.disclosed is $$
A read of the record of a person by another: see `privacy.disclosure`.
$$;
comment on column privacy.disclosed.read_at is $$Time of the read.$$;
comment on column privacy.disclosed.read_by is $$Person or login that read the record.$$;
comment on column privacy.disclosed.role is $$Role of the reader.$$;
comment on column privacy.disclosed.function_name is $$Function that returned the record, or table.$$;
comment on column privacy.disclosed.reason is $$Legitimate interest that was given; null without.$$;
comment on column privacy.disclosed.subject_name is $$
Name under which the person was read; null when a table of all people was read.
$$;

alter table privacy.disclosure enable row level security;

insert into privacy.secret (purpose) values ('pseudonym_analysts') on conflict do nothing;

drop function if exists analytics.cohort_people(text);
revoke execute on function track._journey(bigint, timestamptz, timestamptz) from insights_admin;

-- Keys in models from outside can be names of people.
revoke select on ml.embedding, ml.score from insights_analyst;
revoke execute on function ml.nearest(text, text, int, int) from insights_analyst;
