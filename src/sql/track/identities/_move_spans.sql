create or replace function track._move_spans(
  identity_ids bigint[],
  new_identity_ids bigint[],
  since timestamptz[],
  until timestamptz[]
)
returns void
language plpgsql
volatile
-- A definer: it moves the data of people between tables that no role may write.
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_old bigint[];
  v_new bigint[];
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  perform track._move_events(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  with deleted as (
    delete from track.trait
    using unnest(
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
    ) as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
    where trait.person_id = span.old_person_id
      and trait.identity_id = span.identity_id
      and trait.set_at >= span.since
      and trait.set_at < span.until
    returning span.new_person_id, span.new_identity_id, trait.*
  )
  insert into track.trait (person_id, identity_id, name, value, set_at)
  select distinct on (new_identity_id, name) new_person_id, new_identity_id, name, value, set_at
  from deleted
  order by new_identity_id, name, set_at desc, value desc
  on conflict (person_id, identity_id, name) do update
  set value = excluded.value, set_at = excluded.set_at
  where (trait.set_at, trait.value) < (excluded.set_at, excluded.value);
  perform track._keep_latest_traits(_move_spans.new_identity_ids);
  perform track._enqueue(
    'trait', array(select distinct entry.person_id from unnest(v_old || v_new) as entry (person_id))
  );
  perform track._enqueue(
    'identity', array(select distinct entry.person_id from unnest(v_old || v_new) as entry (person_id))
  );
  perform track._move_trait_history(
    _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until
  );

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
