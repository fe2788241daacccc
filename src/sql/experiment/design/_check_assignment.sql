create or replace function experiment._check_assignment(definition jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_given constant jsonb := _check_assignment.definition;
  v_attributes constant text[] := experiment._known_attributes(not v_given ? 'placement');
  v_attribute text;
begin
  foreach v_attribute in array array_remove(array[v_given ->> 'hash_attribute', v_given ->> 'fallback_attribute'], null)
  loop
    if v_attribute <> all (v_attributes) then
      perform experiment._refuse_unknown_name('attribute', v_attribute, v_attributes,
        'People are assigned by id, anonymousId or a trait.');
    end if;
  end loop;
  if v_given -> 'fallback_attribute' = v_given -> 'hash_attribute' then
    perform experiment._refuse_field('fallback_attribute', v_given -> 'fallback_attribute',
      'Give another attribute than hash_attribute.');
  elsif v_given ? 'fallback_attribute' and v_given -> 'is_sticky' <> 'true' then
    perform experiment._refuse_field('fallback_attribute', v_given -> 'fallback_attribute',
      'It needs is_sticky, so that a person keeps the variation when hash_attribute becomes known.');
  elsif v_given ?& '{fallback_attribute,holdout}' then
    perform experiment._refuse_field('fallback_attribute', v_given -> 'fallback_attribute',
      'People without hash_attribute cannot be held out: leave out the holdout or the fallback.');
  elsif starts_with(v_given ->> 'seed', 'holdout.') then
    perform experiment._refuse_field('seed', v_given -> 'seed',
      'Seeds that begin with "holdout." are those of holdouts.');
  elsif v_given ? 'feature' and v_given ? 'placement' then
    perform experiment._refuse_field('placement', v_given -> 'placement',
      'An experiment has a feature or a placement, not both.');
  end if;
  if v_given ? 'condition' then
    perform experiment._check_condition(v_given -> 'condition', v_attributes);
  end if;
  if v_given ? 'parent_conditions' then
    perform experiment._check_parents(v_given -> 'parent_conditions', v_given ->> 'feature');
  end if;
end;
$$;

comment on function experiment._check_assignment(jsonb) is $$
@behavior -*
Raises an error for a definition by which people cannot be assigned. Errors: CF001, CF002, CF008.
$$;
