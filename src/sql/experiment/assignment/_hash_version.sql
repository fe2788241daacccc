create or replace function experiment._hash_version(version jsonb, missing int)
returns int
language sql
immutable
parallel safe
begin atomic
  select case
    when not experiment._truthy(_hash_version.version) then _hash_version.missing
    when _hash_version.version = '1' then 1
    when _hash_version.version = '2' then 2
    else 0
  end;
end;

comment on function experiment._hash_version(jsonb, integer) is $$
Returns the hash version of a rule, 0 for one that is not known.
$$;

grant execute on function experiment._hash_version(jsonb, integer)
to insights_reader, insights_visitor, insights_learner, insights_analyst, insights_admin, insights_worker;
