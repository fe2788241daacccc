create or replace function track.people_of_identities(identity_ids bigint[], occurred_at timestamptz[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_person_id bigint;
begin
  -- Each list that is recorded calls this function for one identity, in most cases that of a user.
  if cardinality(people_of_identities.identity_ids) = 1 then
    select identity.person_id into v_person_id
    from track.identity
    where identity.identity_id = people_of_identities.identity_ids[1]
      and identity.kind <> 'anonymous';
    if found then
      return array[v_person_id];
    end if;
  end if;
  return (
    select array_agg(
      case
        when identity.kind = 'anonymous'
          and exists (
            select
            from track.identity as sibling
            where sibling.external_id = identity.external_id
              and sibling.kind = 'anonymous'
              and sibling.identity_id <> identity.identity_id
          )
          then (
            select owner.person_id
            from track.identity as owner
            where owner.identity_id = track._browser_identity(identity.external_id, given.occurred_at)
          )
        else identity.person_id
      end
      order by given.position
    )
    from unnest(people_of_identities.identity_ids, people_of_identities.occurred_at) with ordinality
      as given (identity_id, occurred_at, position)
    left join track.identity on identity.identity_id = given.identity_id
  );
end;
$$;

comment on function track.people_of_identities(bigint[], timestamptz[]) is $$
@behavior -*
Returns for each identity the person to whom an event that it sent at a time belongs now; null for an unknown identity.
For the browser of several people, it is the one who had identified on it last before the time. The lists have the same
length. For rooms whose data names an identity, so that it follows merges of people and their reversal.
$$;
