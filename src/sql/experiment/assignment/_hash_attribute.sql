create or replace function experiment._hash_attribute(
  attributes jsonb,
  wanted jsonb,
  fallback jsonb,
  out attribute text,
  out value jsonb
)
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_fallback text;
begin
  _hash_attribute.attribute := case
    when experiment._truthy(_hash_attribute.wanted) then experiment._js_text(_hash_attribute.wanted)
    else 'id'
  end;
  _hash_attribute.value := _hash_attribute.attributes -> _hash_attribute.attribute;
  if experiment._truthy(_hash_attribute.value) then
    return;
  end if;
  _hash_attribute.value := '""';
  if experiment._truthy(_hash_attribute.fallback) then
    v_fallback := experiment._js_text(_hash_attribute.fallback);
    if experiment._truthy(_hash_attribute.attributes -> v_fallback) then
      _hash_attribute.attribute := v_fallback;
      _hash_attribute.value := _hash_attribute.attributes -> v_fallback;
    end if;
  end if;
end;
$$;

comment on function experiment._hash_attribute(jsonb, jsonb, jsonb) is $$
Returns the attribute by which a person is assigned and its value, an empty text if the person has none.
The attribute is `id` unless another is wanted; the fallback is used if the first has no value.
$$;

grant execute on function experiment._hash_attribute(jsonb, jsonb, jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
