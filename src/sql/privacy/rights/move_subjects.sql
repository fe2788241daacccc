create or replace function privacy.move_subjects(
  identities bigint[],
  new_people bigint[],
  new_identities bigint[] default null
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
begin
  update privacy.request
  set person_id = moved.person_id
  from unnest(move_subjects.identities, move_subjects.new_people) as moved (identity_id, person_id)
  where request.identity_id = moved.identity_id
    and request.completed_at is null;

  update privacy.restriction
  set person_id = moved.person_id
  from unnest(move_subjects.identities, move_subjects.new_people) as moved (identity_id, person_id)
  where restriction.identity_id = moved.identity_id;

  if move_subjects.new_identities is null then
    return;
  end if;
  update privacy.disclosure
  set identity_id = named.new_identity_id
  from unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
  where disclosure.identity_id = named.identity_id;
  update privacy.export_log
  set identity_id = named.new_identity_id
  from unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
  where export_log.identity_id = named.identity_id;
  -- Of several requests of a kind, those that keep the deleted identity are answered with its new person.
  update privacy.request
  set identity_id = moved.new_identity_id
  from (
    select distinct on (open.kind, named.new_identity_id) open.request_id, named.new_identity_id
    from unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
    join privacy.request as open on open.identity_id = named.identity_id
    where open.completed_at is null
      and not exists (
        select
        from privacy.request as other
        where other.identity_id = named.new_identity_id
          and other.kind = open.kind
          and other.completed_at is null
      )
    order by open.kind, named.new_identity_id, open.received_at, open.request_id
  ) as moved
  where request.request_id = moved.request_id;

  with former as (
    delete from privacy.restriction
    where restriction.identity_id = any (move_subjects.identities)
    returning restriction.*
  )
  insert into privacy.restriction (identity_id, person_id, reason, since)
  select distinct on (named.new_identity_id)
    named.new_identity_id, former.person_id, former.reason, former.since
  from former
  join unnest(move_subjects.identities, move_subjects.new_identities) as named (identity_id, new_identity_id)
    using (identity_id)
  order by named.new_identity_id, former.since, former.identity_id
  on conflict (identity_id) do nothing;
end;
$$;

comment on function privacy.move_subjects(bigint[], bigint[], bigint[]) is $$
@behavior -*
Moves open requests and restrictions of identities to their new people; the lists have the same length.
`new_identities`: of identities that are about to be deleted, those that have their names from then on; the logs of
exports and reads follow, too.
Called by `track` when people are merged or split.
$$;
