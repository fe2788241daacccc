create or replace function experiment._read_definition(definition jsonb)
returns jsonb
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given jsonb := experiment._read_fields(_read_definition.definition);
begin
  perform experiment._check_key('an experiment', v_given ->> 'key');
  v_given := v_given || jsonb_build_object(
    'name', coalesce(v_given -> 'name', v_given -> 'key'),
    'seed', coalesce(v_given -> 'seed', v_given -> 'key'),
    'variations', experiment._read_variations(v_given -> 'variations')
  );
  v_given := v_given || jsonb_build_object(
    'weights',
    experiment._read_weights(
      coalesce(
        v_given -> 'weights',
        (
          select jsonb_agg(1.0 / jsonb_array_length(v_given -> 'variations'))
          from jsonb_array_elements(v_given -> 'variations')
        )
      ),
      jsonb_array_length(v_given -> 'variations'),
      v_given ? 'bandit'
    )
  );
  v_given := v_given || experiment._read_measured(v_given);
  if v_given ? 'bandit' then
    if _read_definition.definition -> 'is_sticky' = 'false' then
      perform experiment._refuse_field('is_sticky', 'false',
        'People of a bandit keep their variation when its weights change.');
    end if;
    v_given := v_given || '{"is_sticky": true}';
  end if;
  if v_given ? 'layer' then
    v_given := '{"layer_from": 0, "layer_until": 1}' || v_given;
  end if;
  return v_given;
end;
$$;

comment on function experiment._read_definition(jsonb) is $$
@behavior -*
Returns the complete definition of an experiment from a given one; fields without a value are left out.
Each field is checked by itself: `experiment._check_definition` checks them together. Two definitions with the same
meaning give the same result. Errors: CF001, CF002, CF008.
$$;
