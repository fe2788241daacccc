create or replace function track.unshared_names(subject privacy.subject)
returns privacy.subject
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_subject privacy.subject := subject;
begin
  -- A browser that others have used is theirs, too.
  select array_agg(named.kind), array_agg(named.name)
  into v_subject.kinds, v_subject.names
  from (
    select distinct entry.kind, entry.name
    from unnest(subject.kinds, subject.names) as entry (kind, name)
    where not exists (
      select
      from track.identity
      where identity.external_id = entry.name
        and identity.kind = entry.kind
    )
  ) as named;
  return v_subject;
end;
$$;

comment on function track.unshared_names(privacy.subject) is $$
@behavior -*
Returns a person who was erased, with those of her names that nobody else has.
$$;
