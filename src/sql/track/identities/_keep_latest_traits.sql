create or replace function track._keep_latest_traits(identity_ids bigint[])
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_people bigint[];
  v_identities bigint[];
  v_names text[];
begin
  -- Two statements, because the identities of a browser may be on several servers.
  with sibling as materialized (
    select distinct sibling.external_id, sibling.person_id, sibling.identity_id
    from track.identity
    join track.identity as sibling on sibling.external_id = identity.external_id and sibling.kind = 'anonymous'
    where identity.identity_id = any (_keep_latest_traits.identity_ids)
      and identity.kind = 'anonymous'
  ),

  ranked as (
    select
      trait.person_id, trait.identity_id, trait.name,
      row_number() over (
        partition by sibling.external_id, trait.name
        order by trait.set_at desc, trait.value desc, trait.identity_id
      ) as place
    from sibling
    join track.trait on trait.person_id = sibling.person_id and trait.identity_id = sibling.identity_id
  )

  select array_agg(person_id), array_agg(identity_id), array_agg(name)
  into v_people, v_identities, v_names
  from ranked
  where place > 1;

  delete from track.trait
  using unnest(v_people, v_identities, v_names) as older (person_id, identity_id, name)
  where trait.person_id = older.person_id
    and trait.identity_id = older.identity_id
    and trait.name = older.name;
  perform track._enqueue('trait', array(select distinct entry.person_id from unnest(v_people) as entry (person_id)));
end;
$$;

comment on function track._keep_latest_traits(bigint[]) is $$
Deletes traits of browsers that a later message of the same browser replaced, also when another user had it by then.
The result therefore does not depend on whether the traits or the links arrived first.
$$;
