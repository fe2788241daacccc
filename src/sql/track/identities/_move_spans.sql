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
  v_since timestamptz;
  v_until timestamptz;
begin
  select
    array_agg(identity.person_id order by span.position),
    array_agg(new_identity.person_id order by span.position)
  into v_old, v_new
  from unnest(_move_spans.identity_ids, _move_spans.new_identity_ids) with ordinality
    as span (identity_id, new_identity_id, position)
  join track.identity on identity.identity_id = span.identity_id
  join track.identity as new_identity on new_identity.identity_id = span.new_identity_id;

  -- Each event of a person is in a session, in the period of the automatic events, or in a period that is queued for
  -- the refresh.
  select min(greatest(period.since, span.since)), max(least(period.until, span.until))
  into v_since, v_until
  from unnest(v_old, _move_spans.since, _move_spans.until) as span (person_id, since, until)
  join (
    select stale.person_id, stale.since, stale.until
    from track.stale
    where stale.person_id = any (v_old)
    union all
    select session.person_id, session.started_at, session.ended_at
    from track.session
    where session.person_id = any (v_old)
    union all
    select automatic_period.person_id, automatic_period.since, automatic_period.until
    from track.automatic_period
    where automatic_period.person_id = any (v_old)
  ) as period
    on period.person_id = span.person_id
    and period.since < span.until
    and period.until >= span.since;

  -- Rows are moved by delete and insert, because the person is the distribution column. The statement is planned for
  -- each execution, so that only the partitions of the period are read.
  if v_since is not null then
    execute $statement$
      with deleted as (
        delete from track.event
        using unnest($1, $2, $3, $4, $5, $6)
          as span (identity_id, new_identity_id, old_person_id, new_person_id, since, until)
        where event.person_id = span.old_person_id
          and event.identity_id = span.identity_id
          and event.occurred_at >= span.since
          and event.occurred_at < span.until
          and event.occurred_at between $7 and $8
        returning span.old_person_id, span.new_person_id, span.new_identity_id, event.*
      ),

      placed as (
        insert into track.event (
          person_id, occurred_at, event_id, identity_id, event_type_id, item_id, received_at, source_id, properties,
          client_at
        )
        select
          new_person_id, occurred_at, event_id, new_identity_id, event_type_id, item_id, received_at, source_id,
          properties, client_at
        from deleted
      )

      insert into track.stale (person_id, since, until)
      select old_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by old_person_id
      union all
      select new_person_id, min(occurred_at), max(occurred_at)
      from deleted
      group by new_person_id
    $statement$
    using
      _move_spans.identity_ids, _move_spans.new_identity_ids, v_old, v_new, _move_spans.since, _move_spans.until,
      v_since, v_until;
  end if;

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

  perform privacy.move_decisions(
    _move_spans.identity_ids, v_old, v_new, _move_spans.new_identity_ids, _move_spans.since, _move_spans.until
  );
end;
$$;

comment on function track._move_spans(bigint[], bigint[], timestamptz[], timestamptz[]) is $$
Moves what browsers sent in the given periods (`until` exclusive) from one identity to another of the same browser.
The cost is proportional to the data of the periods. The caller has locked the people and the identities.
$$;
