/* A definer owned by insights_reader: servers query any person without privileges on the tables. It logs the reads. */
create or replace function experiment.assign_all(experiment text, people text[], attributes jsonb default null)
returns setof experiment.assignment
language plpgsql
volatile
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_experiment constant experiment.experiment := experiment._find_experiment(assign_all.experiment);
  v_rule constant jsonb := experiment._active_rule(v_experiment);
  -- The parts that are equal for all people are computed once.
  v_payload constant jsonb := experiment._payload(null, '{}', v_experiment.parent_conditions is not null);
  v_person_ids bigint[];
  v_attributes jsonb[];
begin
  if assign_all.people is null or array_ndims(assign_all.people) > 1 then
    perform common.refuse(
      'CF001', 'people is ' || case when assign_all.people is null then 'null' else 'an array of arrays' end,
      'Give an array of at most 10,000 names.'
    );
  elsif cardinality(assign_all.people) > 10000 then
    perform common.refuse(
      'CF008', format('there are %s people', cardinality(assign_all.people)), 'Give at most 10,000 at a time.'
    );
  end if;
  select
    coalesce(array_agg(known.person_id order by entry.place), '{}'),
    coalesce(array_agg(known.attributes order by entry.place), '{}')
  into v_person_ids, v_attributes
  from unnest(assign_all.people) with ordinality as entry (person, place)
  cross join lateral experiment._named_attributes(entry.person, assign_all.attributes) as known;
  perform privacy.record_disclosure(v_person_ids, 'experiment.assign_all');

  return query
  select
    entry.person,
    experiment._assign_by(
      v_experiment,
      v_rule,
      v_payload || jsonb_build_object('attributes', entry.attributes) || case
        when v_experiment.is_sticky then jsonb_build_object(
          'stickyBucketAssignmentDocs',
          experiment._payload(entry.person_id, entry.attributes, false) -> 'stickyBucketAssignmentDocs'
        )
        else '{}'
      end
    )
  from unnest(assign_all.people, v_person_ids, v_attributes) with ordinality
    as entry (person, person_id, attributes, place)
  order by entry.place;
end;
$$;

alter function experiment.assign_all(text, text[], jsonb) owner to insights_reader;

comment on function experiment.assign_all(text, text[], jsonb) is $$
@behavior -mutationField +queryField
Returns the variations of several people in an experiment, in the order of their names.
Each is that of `experiment.assign`, with the same `attributes` of the request. It writes nothing. At most 10,000
people.
The reads of an administrator are logged: see `privacy.disclosure`.
Errors: CF001 for people that are null and for an empty name, CF002 for an unknown experiment (names the nearest), CF008
for too many people and too long attributes, CF005 in a read-only transaction.
$$;

grant execute on function experiment.assign_all(text, text[], jsonb) to insights_admin, insights_worker;
