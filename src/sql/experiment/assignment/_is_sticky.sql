create or replace function experiment._is_sticky(payload jsonb, experiment jsonb)
returns boolean
language sql
immutable
parallel safe
begin atomic
  select jsonb_typeof(_is_sticky.payload -> 'stickyBucketAssignmentDocs') is not distinct from 'object'
    and not experiment._truthy(_is_sticky.experiment -> 'disableStickyBucketing');
end;

comment on function experiment._is_sticky(jsonb, jsonb) is $$
Returns whether the documents of sticky buckets in a payload apply to an experiment or a rule.
$$;

grant execute on function experiment._is_sticky(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
