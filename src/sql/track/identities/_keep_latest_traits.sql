create or replace function track._keep_latest_traits(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  delete from track.trait
  using (
    select distinct
      sibling.person_id, sibling.identity_id, other.person_id as other_person_id, other.identity_id as other_identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    join track.identity as other on other.external_id = identity.external_id and other.kind = 'anonymous'
    where identity.identity_id = any (_keep_latest_traits.identity_ids)
      and identity.kind = 'anonymous'
      and other.identity_id <> sibling.identity_id
  ) as pair, track.trait as newer
  where trait.person_id = pair.person_id
    and trait.identity_id = pair.identity_id
    and newer.person_id = pair.other_person_id
    and newer.identity_id = pair.other_identity_id
    and newer.name = trait.name
    and (newer.set_at, newer.value) > (trait.set_at, trait.value);
end;
$$;

comment on function track._keep_latest_traits(bigint[]) is $$
Deletes traits of browsers that a later message of the same browser replaced, also when another user had it by then.
The result therefore does not depend on whether the traits or the links arrived first.
$$;
