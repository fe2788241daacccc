create or replace function track.link_identities(person text, other text)
returns boolean
language plpgsql
volatile
-- A definer: it merges people and moves data between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_now constant timestamptz := clock_timestamp();
  v_person_id constant bigint := track._named_identity(link_identities.person, v_now);
  v_other_id constant bigint := track._named_identity(link_identities.other, v_now);
  v_ids bigint[] := array[v_other_id, v_person_id];
begin
  if v_person_id is null or v_other_id is null then
    perform common.refuse(
      'CF002',
      format(
        'there is no person "%s"',
        left(case when v_person_id is null then link_identities.person else link_identities.other end, 100)
      ),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  if v_person_id = v_other_id then
    perform common.refuse('CF001', format('"%s" would be linked to itself', left(link_identities.person, 100)),
      'Give two different names.');
  end if;
  -- A browser is linked to its user, whichever of the two is named first.
  if (select kind from track.identity where identity_id = v_person_id) = 'anonymous' then
    v_ids := array[v_person_id, v_other_id];
  end if;
  if (select user_identity_id from track.identity where identity_id = v_ids[1]) = v_ids[2] then
    return false;
  end if;
  return track._link_people(v_ids[1:1], v_ids[2:2], array['alias'], array[v_now]) > 0;
end;
$$;

comment on function track.link_identities(text, text) is $$
Links two names to one person: the past and future events of `other` belong to `person`. False when already linked.
A browser that another user has used is linked from now on: its past stays with that user.
`track.unlink_identities` removes the link. Errors: CF002 for an unknown name, CF001 when both names are the same.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
