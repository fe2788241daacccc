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
