create or replace function track._identity_to_exclude(person text)
returns bigint
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_identity_id constant bigint := track._named_identity(_identity_to_exclude.person, clock_timestamp());
begin
  if v_identity_id is null then
    perform common.refuse(
      'CF002',
      format('there is no person "%s"', coalesce(left(_identity_to_exclude.person, 100), 'null')),
      'Give the userId or anonymousId that was sent with events.'
    );
  end if;
  -- Blocks merges of this person until the end of the transaction, so that the current person is queued.
  perform track.lock_identities(array[v_identity_id]);
  return v_identity_id;
end;
$$;

comment on function track._identity_to_exclude(text) is $$
Returns the identity with a `userId`, or else the present one of a browser.
It is locked against moves to another person.
Errors: CF002 for an unknown name.
$$;
