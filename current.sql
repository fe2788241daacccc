-- Changes of structure since the last release: see migrations/README.md.

/* -------------------------------------------------------------------------------- minimisation at the collection -- */

alter table track.setting
  add column if not exists allowed_properties text[] check (cardinality(allowed_properties) <= 1000),
  add column if not exists allowed_traits text[] check (cardinality(allowed_traits) <= 1000),
  add column if not exists personal_data text not null default 'report'
    check (personal_data in ('off', 'report', 'mask', 'refuse')),
  add column if not exists contact_traits text[] not null default '{email,phone}'
    check (cardinality(contact_traits) <= 100),
  add column if not exists agent_properties text[] not null default '{browser,os,device}'
    check (agent_properties <@ '{browser,browserVersion,os,device}'),
  add column if not exists bots text not null default 'exclude' check (bots in ('store', 'exclude', 'refuse'));
comment on column track.setting.allowed_properties is $$
Properties that are stored of events of a new type, and those that the system itself needs; null: all.
An event type gets it as its `track.event_type.allowed_properties` when it is first seen.
$$;
comment on column track.setting.allowed_traits is $$
Traits that are stored; null: all. The time zone is stored always.
Changed by `track.allow_traits`, `track.disallow_traits` and `track.allow_all_traits`.
$$;
comment on column track.setting.personal_data is $$
Treatment of e-mail addresses and phone numbers in properties, traits, paths and names of events.
`report` counts them (`track.personal_data_found`), `mask` also replaces them by `[e-mail]` and `[phone]`, `refuse`
rejects the message, `off` does not look for them.
$$;
comment on column track.setting.contact_traits is $$
Traits that may hold e-mail addresses and phone numbers: in them, none are looked for.
$$;
comment on column track.setting.agent_properties is $$
Properties that an event gets of the user agent of its message, which is not stored itself.
$$;
comment on column track.setting.bots is $$
Treatment of messages whose user agent is that of a bot.
`store`: they are stored, and `device` is `bot`. `exclude`: a browser whose first message is one is also excluded, as by
`track.exclude_person`. `refuse`: they are rejected.
$$;

alter table track.event_type
  add column if not exists allowed_properties text[] check (cardinality(allowed_properties) <= 1000);
comment on column track.event_type.allowed_properties is $$
Properties that are stored of such events, and those that the system itself needs; null: all.
Of a merged type, the list of its target applies. Changed by `track.allow_properties` and its opposites.
$$;

do $block$
begin
  if not exists (
    select from pg_attribute where attrelid = 'track.message_sender'::regclass and attname = 'bots'
  ) then
    alter type track.message_sender
      add attribute user_agent text,
      add attribute allowed_properties text[],
      add attribute allowed_traits text[],
      add attribute personal_data text,
      add attribute contact_traits text[],
      add attribute agent_properties text[],
      add attribute bots text;
    alter type track.parsed_message add attribute user_agent text, add attribute agent_hints jsonb;
    create type track.user_agent as (browser text, browser_version int, os text, device text, is_bot boolean);
    create type track.finding as (event_name text, property text, kind text, found int);
    create type track.data_finding as (
      event text,
      property text,
      kind text,
      found bigint,
      first_day date,
      last_day date
    );
  end if;
end;
$block$;

comment on column track.message_sender.user_agent is $$
User agent of the request, for messages without one; null unless it is that of a browser.
It is null for servers, which send the messages of others.
$$;
comment on column track.message_sender.allowed_properties is $$As `track.setting.allowed_properties`.$$;
comment on column track.message_sender.allowed_traits is $$As `track.setting.allowed_traits`.$$;
comment on column track.message_sender.personal_data is $$As `track.setting.personal_data`.$$;
comment on column track.message_sender.contact_traits is $$As `track.setting.contact_traits`.$$;
comment on column track.message_sender.agent_properties is $$As `track.setting.agent_properties`.$$;
comment on column track.message_sender.bots is $$As `track.setting.bots`.$$;

comment on column track.parsed_message.user_agent is $$
User agent that the message states; null when none is given, and from `track._minimise` on.
$$;
comment on column track.parsed_message.agent_hints is $$
Client hints of the message (`context.userAgentData`); null when none are given, and from `track._minimise` on.
$$;

comment on type track.user_agent is $$
Browser and device of a user agent, as `track.parse_user_agent` returns them.
$$;
comment on column track.user_agent.browser is $$Family of the browser, such as `Firefox`; null when unknown.$$;
comment on column track.user_agent.browser_version is $$Major version of the browser; null when unknown.$$;
comment on column track.user_agent.os is $$Operating system, without a version; null when unknown.$$;
comment on column track.user_agent.device is $$`desktop`, `mobile`, `tablet`, `bot` or `other`.$$;
comment on column track.user_agent.is_bot is $$Whether it is that of a program.$$;

comment on type track.finding is $$
Values that were found in a message, or dropped of it, as a number.
$$;
comment on column track.finding.event_name is $$Name of the event; null for `identify` and such.$$;
comment on column track.finding.property is $$Path of the property.$$;
comment on column track.finding.kind is $$As `track.found_data.kind`.$$;
comment on column track.finding.found is $$Number of values.$$;

comment on type track.data_finding is $$
Values of a property that were found or dropped at their arrival, as a number.
$$;
comment on column track.data_finding.event is $$Name of the event; null for traits.$$;
comment on column track.data_finding.property is $$
Path of the property, such as `properties.form.comment`, `traits.note` or `context.page`.
$$;
comment on column track.data_finding.kind is $$`e-mail`, `phone`, `ip`, `user_agent` or `not_allowed`.$$;
comment on column track.data_finding.found is $$Number of values.$$;
comment on column track.data_finding.first_day is $$First day of arrival, UTC.$$;
comment on column track.data_finding.last_day is $$Last day of arrival, UTC.$$;

create table if not exists track.found_data (
  found_data_id bigint generated always as identity primary key,
  day date not null,
  event_type_id int references track.event_type on delete cascade,
  property text not null check (length(property) <= 200),
  kind text not null check (kind in ('e-mail', 'phone', 'ip', 'user_agent', 'not_allowed')),
  backend int not null,
  found bigint not null check (found > 0),
  constraint found_data_key unique nulls not distinct (day, event_type_id, property, kind, backend)
);

create index if not exists found_data_event_type on track.found_data (event_type_id);

comment on table track.found_data is $$
@behavior -*
Numbers of values that were found in messages, or dropped of them, by event type, property and day of arrival.
One row per backend process, so that concurrent batches do not wait for each other. Contains no value.
`track.personal_data_found` and `track.dropped_data` return the sums.
$$;
comment on column track.found_data.found_data_id is $$Key of the row.$$;
comment on column track.found_data.day is $$Day of arrival (UTC).$$;
comment on column track.found_data.event_type_id is $$Event type; null for traits.$$;
comment on column track.found_data.property is $$
Path of the property. Keys that contain an e-mail address or a phone number are masked; `…` above 2,000 paths per day.
$$;
comment on column track.found_data.kind is $$
`e-mail` or `phone`: found in a value. Dropped: `ip` and `user_agent`, by the name of the property, and `not_allowed`.
$$;
comment on column track.found_data.backend is $$
Process that counted: its process id; 0 for days that `track.delete_old_refusals` has summed.
$$;
comment on column track.found_data.found is $$Number of values.$$;

create table if not exists track.disallowed_month (
  month date primary key
);

comment on table track.disallowed_month is $$
@behavior -*
Months whose events may have properties that are not allowed any more; `track.apply_allow_lists` takes the latest.
$$;
comment on column track.disallowed_month.month is $$First day of the month (UTC).$$;

alter table track.found_data enable row level security;
alter table track.disallowed_month enable row level security;
