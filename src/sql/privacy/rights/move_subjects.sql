create or replace function privacy.move_subjects(identities bigint[], new_people bigint[])
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
end;
$$;

comment on function privacy.move_subjects(bigint[], bigint[]) is $$
@behavior -*
Moves open requests and restrictions of identities to their new people; the lists have the same length.
Called by `track` when people are merged or split.
$$;
