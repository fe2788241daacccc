create or replace function experiment.run(payload jsonb, experiment jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_context jsonb := experiment._context(run.payload);
  v_run record;
begin
  if jsonb_typeof(run.experiment) is distinct from 'object' then
    perform experiment._refuse_condition(run.experiment, 'the experiment', 'an object with a key and variations');
  end if;
  select ran.* into v_run
  from experiment._run(
    v_context, run.experiment, null, '{}', coalesce(v_context -> 'stickyBucketAssignmentDocs', '{}'), 0
  ) as ran;
  return experiment._doubles(v_run.result) || experiment._docs(v_context, v_run.docs);
end;
$$;

comment on function experiment.run(jsonb, jsonb) is $$
Returns the variation of an experiment for a person, as the result object of GrowthBook's clients.
The payload is that of `experiment.eval_feature`. The experiment has a `key`, `variations` and GrowthBook's further
members: `weights`, `coverage`, `ranges`, `seed`, `hashAttribute`, `fallbackAttribute`, `hashVersion`, `namespace`,
`filters`, `condition`, `parentConditions`, `urlPatterns`, `meta`, `bucketVersion`, `minBucketVersion`,
`disableStickyBucketing`, `force`, `active`, `status`. The result holds `variationId` (its position), `key`, `value`,
`inExperiment`, `hashUsed`, `hashAttribute`, `hashValue`, `bucket`, `stickyBucketUsed`, and the documents of sticky
buckets as `stickyBucketAssignmentDocs` if the payload has them.
Wrong weights count as equal ones, as in a client; `experiment.define_experiment` refuses them.
An experiment that makes a client fail, such as one without variations, raises CF009.
$$;

grant execute on function experiment.run(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
