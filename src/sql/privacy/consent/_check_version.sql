create or replace function privacy._check_version(purpose text, document_version text)
returns void
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  if _check_version.document_version is not null
    and exists (select from privacy.consent_text where consent_text.purpose = _check_version.purpose)
    and not exists (
      select
      from privacy.consent_text
      where consent_text.purpose = _check_version.purpose
        and consent_text.version = _check_version.document_version
    )
  then
    perform common.refuse(
      'CF002',
      format('there is no version "%s" of the text of "%s"', left(_check_version.document_version, 100),
        _check_version.purpose),
      coalesce(
        (
          select format('The nearest version is "%s".', nearest.version)
          from common.nearest_name(_check_version.document_version, array(
            select consent_text.version
            from privacy.consent_text
            where consent_text.purpose = _check_version.purpose
          )) as nearest (version)
          where nearest.version is not null
        ),
        'Publish it first, with privacy.publish_text.'
      )
    );
  end if;
end;
$$;

comment on function privacy._check_version(text, text) is $$
Raises CF002 when a purpose has texts, and none of this version.
$$;
