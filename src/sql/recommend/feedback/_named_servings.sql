create or replace function recommend._named_servings(people bigint[], since timestamptz[], until timestamptz[])
returns setof recommend.impression
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_serving_period constant interval := (select serving_period from recommend.setting);
  -- The clock of a client may be behind.
  v_tolerance constant interval := (select clock_tolerance from track.setting);
  v_people bigint[];
  v_servings recommend.serving[];
  v_owners bigint[];
begin
  with sent as materialized (
    select event.person_id, event.occurred_at, event.properties ->> 'servingId' as serving_id
    from unnest(_named_servings.people, _named_servings.since, _named_servings.until)
      as period (person_id, since, until)
    join track.event
      on event.person_id = period.person_id
      and event.occurred_at >= period.since
      and event.occurred_at <= period.until
    where event.properties ? 'servingId'
      and event.person_id <> 0
  ),

  named as materialized (
    select sent.person_id, sent.occurred_at, recommend._read_serving_id(sent.serving_id) as serving
    from sent
  ),

  valid as (
    select distinct on (named.person_id, (named.serving).serving_key) named.person_id, named.serving
    from named
    where (named.serving).problem is null
      and named.occurred_at >= (named.serving).listed_at - v_tolerance
      and named.occurred_at <= (named.serving).listed_at + v_serving_period
    order by named.person_id, (named.serving).serving_key
  )

  select array_agg(valid.person_id), array_agg(valid.serving)
  into v_people, v_servings
  from valid;
  if v_people is null then
    return;
  end if;

  v_owners := track.people_of_identities(
    array(select serving.identity_id from unnest(v_servings) with ordinality as serving order by serving.ordinality),
    array(select serving.listed_at from unnest(v_servings) with ordinality as serving order by serving.ordinality)
  );
  return query
  select
    entry.person_id, entry.serving_key, entry.identity_id, entry.model_id, entry.item_id, entry.rank, entry.basis,
    entry.propensity, entry.pool, entry.listed_at, false, null::timestamptz, null::timestamptz, null::timestamptz,
    null::timestamptz, null::real, null::timestamptz, null::timestamptz, entry.experiment_id, entry.variation,
    null::float8, null::text
  from (
    select named.*, serving.*
    from unnest(v_people, v_owners) with ordinality as named (person_id, owner_id, position)
    join unnest(v_servings) with ordinality as serving on serving.ordinality = named.position
  ) as entry
  where entry.identity_id is null
    or entry.owner_id = entry.person_id;
end;
$$;

comment on function recommend._named_servings(bigint[], timestamptz[], timestamptz[]) is $$
@behavior -*
Returns the rows of lists that events of the given periods of people name by their `servingId`, without the answers.
An id counts when its signature is valid, when the identity for which the list was made belongs to the person, and when
the event is at most `recommend.setting.serving_period` later than the list.
$$;
