create or replace function privacy.publish_text(
  purpose text,
  version text,
  body text,
  language text default 'en',
  url text default null,
  valid_from timestamptz default now()
)
returns privacy.consent_text
language plpgsql
volatile
-- A definer: it writes privacy.consent_text, which no role may write, since its rows do not change.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_text privacy.consent_text;
begin
  perform privacy._check_purpose(publish_text.purpose);
  if publish_text.version is null or publish_text.body is null or publish_text.language is null
    or publish_text.version = '' or publish_text.body !~ '\S' or publish_text.valid_from is null
  then
    perform common.refuse('CF001',
      format('a text "%s" of the version "%s" in the language "%s"', left(publish_text.body, 100),
        left(publish_text.version, 100), left(publish_text.language, 100)),
      'Give a version, a text and a language, and a time from which it is valid.');
  end if;
  if length(publish_text.version) > 200 or octet_length(publish_text.body) > 1000000
    or length(publish_text.url) > 2000
  then
    perform common.refuse('CF008',
      format('version has %s characters, body %s bytes, url %s characters', length(publish_text.version),
        octet_length(publish_text.body), coalesce(length(publish_text.url), 0)),
      'Send at most 200 characters, 1000000 bytes and 2000 characters.');
  end if;
  if length(publish_text.language) > 50 or publish_text.language !~ '^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$' then
    perform common.refuse('CF001', format('the language is "%s"', left(publish_text.language, 100)),
      'Give a language tag such as "en" or "pt-BR".');
  end if;

  insert into privacy.consent_text (purpose, version, language, body, url, valid_from)
  values (
    publish_text.purpose, publish_text.version, publish_text.language, publish_text.body, publish_text.url,
    publish_text.valid_from
  )
  on conflict on constraint consent_text_purpose_version_language_key do nothing
  returning * into v_text;
  if v_text.text_id is null then
    select consent_text.* into v_text
    from privacy.consent_text
    where consent_text.purpose = publish_text.purpose
      and consent_text.version = publish_text.version
      and consent_text.language = publish_text.language;
    if (v_text.body, v_text.url) is distinct from (publish_text.body, publish_text.url) then
      perform common.refuse('CF003',
        format('the version "%s" of "%s" in "%s" has another text', left(publish_text.version, 100),
          publish_text.purpose, publish_text.language),
        'A published text does not change, since people have decided about it. Publish a new version.');
    end if;
  end if;
  return v_text;
end;
$$;

comment on function privacy.publish_text(text, text, text, text, text, timestamptz) is $$
Publishes a version of the text that people are shown when they decide about a purpose, and returns it.
From the first text of a purpose on, `document_version` of a recorded decision has to be one of its versions. Publishing
the same text again changes nothing. Errors: CF001 for a missing or invalid value, CF002 for an unknown purpose, CF003
when the version has another text, CF008 for a text above 1 MB.
$$;

grant execute on function privacy.publish_text(text, text, text, text, text, timestamptz) to insights_admin;
