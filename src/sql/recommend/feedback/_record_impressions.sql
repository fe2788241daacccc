/*
 * A definer: no role may write impressions. The rows are those of signed ids of this very transaction, so that a caller
 * can record only what was listed for the person.
 */
create or replace function recommend._record_impressions(serving_ids text[])
returns void
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_servings recommend.serving[];
  v_listed_at constant timestamptz := date_trunc('milliseconds', now());
  v_reads_all constant boolean := track.reads_all_people();
  -- A list for no person is shown to the one who is signed in.
  v_identity_ids bigint[];
  v_owners bigint[];
begin
  perform recommend._check_session('record what is served', '{}');
  perform common.check_count('the number of serving ids', cardinality(serving_ids), 0, 1000);
  v_servings := array(
    select recommend._read_serving_id(given.serving_id)
    from unnest(_record_impressions.serving_ids) with ordinality as given (serving_id, position)
    order by given.position
  );
  v_identity_ids := array(
    select coalesce(
      serving.identity_id,
      case
        when not v_reads_all and track.current_person_id() is not null
          then track.find_identity(current_setting('insights.person', true))
      end
    )
    from unnest(v_servings) with ordinality as serving
    order by serving.ordinality
  );
  if exists (
    select
    from unnest(v_servings) as serving
    where serving.problem is not null
      or serving.listed_at <> v_listed_at
  ) then
    perform common.refuse('CF005', 'a row was not listed in this transaction',
      'Call recommend.serve_me, serve_person or serve_items.');
  end if;

  -- The persons of the identities must not change until the end of the transaction.
  if current_setting('transaction_isolation') in ('repeatable read', 'serializable') then
    -- Fails (40001) when they have changed since the snapshot: a key share lock would not.
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identity_ids)
    order by identity.identity_id
    for share;
  else
    perform identity.identity_id
    from track.identity
    where identity.identity_id = any (v_identity_ids)
    order by identity.identity_id
    for key share;
  end if;
  v_owners := track.people_of_identities(
    v_identity_ids,
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  if not v_reads_all and exists (
    select
    from unnest(v_owners) as owner (person_id)
    where owner.person_id <> coalesce(track.current_person_id(), 0)
  ) then
    perform common.refuse('CF005', 'a row was listed for another person',
      'Learners can record only what was listed for themselves.');
  end if;

  insert into recommend.impression (
    person_id, serving_key, identity_id, model_id, item_id, rank, basis, propensity, pool, listed_at, is_served,
    experiment_id, variation
  )
  select distinct on (owned.person_id, serving.serving_key)
    owned.person_id, serving.serving_key, v_identity_ids[serving.ordinality], serving.model_id, serving.item_id,
    serving.rank, serving.basis, serving.propensity, serving.pool, serving.listed_at, true, serving.experiment_id,
    serving.variation
  from unnest(v_servings) with ordinality as serving
  join unnest(v_owners) with ordinality as owned (person_id, position) on owned.position = serving.ordinality
  where owned.person_id in (
    select entry.person_id
    from (select distinct given.person_id from unnest(v_owners) as given (person_id)) as entry
    where entry.person_id <> 0
      and privacy.allowed(entry.person_id, 'personalization')
  )
  order by owned.person_id, serving.serving_key
  on conflict (person_id, serving_key) do update
  set is_served = true
  where not impression.is_served;

  -- The first exposure counts: a person who is known in this variation need not be computed again.
  if exists (select from unnest(v_servings) as serving where serving.experiment_id is not null) then
    perform experiment.queue_exposures(
      array(
        select distinct impression.person_id
        from unnest(v_servings) with ordinality as serving
        join unnest(v_owners) with ordinality as owned (person_id, position) on owned.position = serving.ordinality
        join recommend.impression
          on impression.person_id = owned.person_id
          and impression.serving_key = serving.serving_key
        where impression.experiment_id is not null
          and not exists (
            select
            from experiment.exposure
            where exposure.person_id = impression.person_id
              and exposure.experiment_id = impression.experiment_id
              and exposure.variation = impression.variation
              and exposure.exposed_at <= impression.listed_at
          )
      )
    );
  end if;
end;
$$;

comment on function recommend._record_impressions(text[]) is $$
@behavior -*
Records rows of lists of this transaction as served, each once, by their `serving_id`.
A row that was listed for no person is recorded for the learner who is signed in, and otherwise not. Rows of people who
have opted out of `personalization` are not recorded.
Errors: CF005 for an id that is invalid, of another transaction, or, for learners, of another person.
$$;

grant execute on function recommend._record_impressions(text[])
to insights_visitor, insights_learner, insights_admin, insights_worker;
