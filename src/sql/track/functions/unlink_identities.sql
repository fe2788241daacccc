create or replace function track.unlink_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it splits a person and moves data of hers, which no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_ends bigint[];
begin
  perform track._lock_people(array(
    select identity_id
    from track.identity
    where external_id in (unlink_identities.person, unlink_identities.other)
  ));

  with taken as (
    update track.identity_link
    set unlinked_at = clock_timestamp()
    from track.identity as identity, track.identity as linked
    where identity_link.identity_id = identity.identity_id
      and identity_link.linked_identity_id = linked.identity_id
      and identity_link.unlinked_at is null
      and (
        (identity.external_id, linked.external_id) = (unlink_identities.other, unlink_identities.person)
        or (identity.external_id, linked.external_id) = (unlink_identities.person, unlink_identities.other)
      )
    returning identity_link.identity_id, identity_link.linked_identity_id
  )
  select array_agg(identity_id) || array_agg(linked_identity_id) into v_ends
  from taken;

  if v_ends is null then
    perform common.refuse(
      'CF002',
      format('"%s" and "%s" are not linked', left(unlink_identities.person, 100), left(unlink_identities.other, 100)),
      'The table track.identity_link lists the links that hold.'
    );
  end if;

  perform track._resolve_people(v_ends);
  return true;
end;
$$;

comment on function track.unlink_identities(text, text) is $$
Removes a link between two names. Each event then belongs to the person of its own identity.
Errors: CF002 when the names are not linked.
$$;

grant execute on function track.unlink_identities(text, text) to insights_admin;
