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
  v_person_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.person and kind <> 'none'
    order by kind = 'user' desc
    limit 1
  );
  v_other_id constant bigint := (
    select identity_id
    from track.identity
    where external_id = link_identities.other and kind <> 'none'
    order by kind = 'user' desc
    limit 1
  );
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
  return track._link_people(array[v_other_id], array[v_person_id], array['alias'], array[clock_timestamp()]) > 0;
end;
$$;

comment on function track.link_identities(text, text) is $$
Links two names to one person: the past and future events of `other` belong to `person`. False when already linked.
`track.unlink_identities` removes the link. Errors: CF002 for an unknown name, CF001 when both names are the same.
$$;

grant execute on function track.link_identities(text, text) to insights_admin;
