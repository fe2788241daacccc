create or replace function experiment._members(value jsonb)
returns jsonb
language sql
immutable
parallel safe
begin atomic
  select case jsonb_typeof(_members.value)
    when 'object' then _members.value
    when 'array' then (
      select coalesce(jsonb_object_agg((element.number - 1)::text, element.value), '{}')
      from jsonb_array_elements(_members.value) with ordinality as element (value, number)
    )
    else '{}'
  end;
end;

comment on function experiment._members(jsonb) is $$
Returns the attributes of a payload as an object: those of an array by position, none of another value.
$$;

grant execute on function experiment._members(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;

create or replace function experiment._context(payload jsonb)
returns jsonb
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_attributes jsonb := _context.payload -> 'attributes';
  v_docs jsonb := _context.payload -> 'stickyBucketAssignmentDocs';
begin
  if jsonb_typeof(_context.payload) is distinct from 'object' then
    perform experiment._refuse_condition(_context.payload, 'the payload', 'an object with attributes and features');
  end if;
  if jsonb_typeof(v_attributes) is distinct from 'object' then
    v_attributes := experiment._members(v_attributes);
  end if;
  if _context.payload ? 'attributeOverrides' then
    v_attributes := v_attributes || experiment._members(_context.payload -> 'attributeOverrides');
  end if;
  v_attributes := experiment._doubles(v_attributes);
  if jsonb_typeof(v_docs) is distinct from 'object' then
    -- The payload of many features is not copied for nothing.
    if v_attributes = _context.payload -> 'attributes' then
      return _context.payload;
    end if;
    return _context.payload || jsonb_build_object('attributes', v_attributes);
  end if;
  return _context.payload || jsonb_build_object(
    'attributes', v_attributes,
    'stickyBucketAssignmentDocs', (
      select coalesce(jsonb_object_agg(doc.key, doc.value), '{}')
      from jsonb_each(v_docs) as doc
      where doc.key in (
        select experiment._sticky_key(attribute.key, attribute.value)
        from jsonb_each(v_attributes) as attribute
      )
    )
  );
end;
$$;

comment on function experiment._context(jsonb) is $$
Returns a payload with its attributes as JavaScript reads them.
Of the documents of sticky buckets, it has those of the person whom the attributes describe.
$$;

grant execute on function experiment._context(jsonb)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
