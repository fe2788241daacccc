create or replace function experiment._payload(person_id bigint, attributes jsonb, with_features boolean)
returns jsonb
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return jsonb_build_object(
    'attributes', _payload.attributes,
    'features', case when _payload.with_features then experiment.features() -> 'features' else '{}' end,
    -- The first exposure of a person is the assignment that she keeps.
    'stickyBucketAssignmentDocs', (
      select coalesce(
        jsonb_object_agg(
          doc.attribute || '||' || doc.value,
          jsonb_build_object(
            'attributeName', doc.attribute, 'attributeValue', doc.value, 'assignments', doc.assignments
          )
        ),
        '{}'
      )
      from (
        select
          hashed.attribute,
          _payload.attributes ->> hashed.attribute as value,
          jsonb_object_agg(
            known.experiment_key || '__' || known.bucket_version, variation.variation_key
          ) as assignments
        from experiment.exposure
        join experiment.experiment as known using (experiment_id)
        join experiment.variation using (experiment_id, variation)
        cross join lateral (
          select case
            when _payload.attributes ->> known.hash_attribute <> '' then known.hash_attribute
            else known.fallback_attribute
          end as attribute
        ) as hashed
        where exposure.person_id = _payload.person_id
          and known.state = 'running'
          and known.is_sticky
          and _payload.attributes ->> hashed.attribute <> ''
        group by hashed.attribute
      ) as doc
    )
  );
end;
$$;

comment on function experiment._payload(bigint, jsonb, boolean) is $$
@behavior -*
Returns the payload of a person for `experiment.run` and `experiment.eval_feature`.
With the features where they are needed, and the stored exposures as sticky assignments. `person_id` null: without.
$$;

grant execute on function experiment._payload(bigint, jsonb, boolean) to insights_reader;
