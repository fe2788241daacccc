create or replace function track._identity_to_merge(name text)
returns bigint
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track._named_identity(_identity_to_merge.name, clock_timestamp());
begin
  if v_identity_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(_identity_to_merge.name, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  -- A browser stays with its user.
  return (
    select coalesce(identity.user_identity_id, identity.identity_id)
    from track.identity
    where identity.identity_id = v_identity_id
  );
end;
$$;

comment on function track._identity_to_merge(text) is $$
Returns the identity of a `userId`, or of the present user of a browser, or else that of the browser.
Errors: CF002 for an unknown name.
$$;

create or replace function track.merge_persons(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_most constant int := (select setting.most_identities from track.setting);
  v_person_id constant bigint := track._identity_to_merge(merge_persons.person);
  v_other_id constant bigint := track._identity_to_merge(merge_persons.other);
  v_ids bigint[] := array[v_other_id, v_person_id];
  v_count bigint;
begin
  perform track._lock_people(v_ids);
  select count(*) into v_count
  from track.identity
  where identity.person_id in (
    select named.person_id from track.identity as named where named.identity_id = any (v_ids)
  );
  if (select count(distinct identity.person_id) from track.identity where identity.identity_id = any (v_ids)) = 1 then
    return false;
  end if;
  if v_count > v_most then
    perform common.refuse(
      'CF008', format('the person "%s" would have %s identities', left(merge_persons.person, 100), v_count),
      format('A person has %s at most (track.setting.most_identities).', v_most)
    );
  end if;

  -- A browser is linked to its user, whichever of the two is named first.
  if (select identity.kind from track.identity where identity.identity_id = v_person_id) = 'anonymous' then
    v_ids := array[v_person_id, v_other_id];
  end if;
  return track._link_people(v_ids[1:1], v_ids[2:2], array['merge'], array[clock_timestamp()]) > 0;
end;
$$;

comment on function track.merge_persons(text, text) is $$
Merges two people, each with all her identities: everything of `other` belongs to `person`. False when they are one.
Sessions and all other derived data follow with the next refresh. What one of them has refused is refused for both.
A browser names its present user, or itself when nobody has identified on it. `track.split_person` undoes it.
Errors: CF002 for an unknown name, CF008 when the person would have more identities than
`track.setting.most_identities`.
$$;

grant execute on function track.merge_persons(text, text) to insights_admin;
