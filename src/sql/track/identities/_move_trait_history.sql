create or replace function track._move_trait_history(
  identity_ids bigint[],
  new_identity_ids bigint[],
  old_people bigint[],
  new_people bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
set search_path to pg_catalog, pg_temp
as $$
declare
  v_rows track.trait_history[];
begin
  -- Two statements, because a part of a row may stay.
  with deleted as (
    delete from track.trait_history as history
    using unnest(
      _move_trait_history.identity_ids, _move_trait_history.old_people, _move_trait_history.since,
      _move_trait_history.until
    ) as span (identity_id, person_id, since, until)
    where history.person_id = span.person_id
      and history.identity_id = span.identity_id
      and greatest(
        history.set_at[cardinality(history.set_at)], history.repeated_at[cardinality(history.repeated_at)]
      ) >= span.since
      and history.set_at[1] < span.until
    returning history.*
  )
  select array_agg(row(deleted.*)::track.trait_history) into v_rows
  from deleted;

  perform track._store_trait_history(
    array_agg(coalesce(span.new_person_id, history.person_id)),
    array_agg(coalesce(span.new_identity_id, history.identity_id)),
    array_agg(history.name), array_agg(point.set_at), array_agg(point.value)
  )
  from unnest(v_rows) as history
  cross join lateral track._trait_points(history.set_at, history.value, history.repeated_at) as point
  left join unnest(
    _move_trait_history.identity_ids, _move_trait_history.new_identity_ids, _move_trait_history.new_people,
    _move_trait_history.since, _move_trait_history.until
  ) as span (identity_id, new_identity_id, new_person_id, since, until)
    on span.identity_id = history.identity_id
    and point.set_at >= span.since
    and point.set_at < span.until
  having count(*) > 0;
end;
$$;

comment on function track._move_trait_history(
  bigint[], bigint[], bigint[], bigint[], timestamptz[], timestamptz[]
) is $$
Moves the times of traits of identities in the given periods (`until` exclusive) to other identities and people.
The lists have the same length.
$$;
