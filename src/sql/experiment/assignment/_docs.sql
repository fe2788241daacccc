create or replace function experiment._docs(context jsonb, docs jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return case
    when jsonb_typeof(_docs.context -> 'stickyBucketAssignmentDocs') = 'object'
      then jsonb_build_object('stickyBucketAssignmentDocs', _docs.docs)
    else '{}'
  end;
end;
$$;

comment on function experiment._docs(jsonb, jsonb) is $$
Returns the documents of sticky buckets as a member of a result, nothing if the payload had none.
$$;

grant execute on function experiment._docs(jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
