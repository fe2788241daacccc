create or replace function analytics._check_circle(name text, rule jsonb)
returns void
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_circle text;
begin
  -- From each set that the rule names to those that it names itself, each set once.
  with recursive named as (
    select distinct entry.set_name, array[_check_circle.name, entry.set_name] as path
    from analytics._rule_sets(_check_circle.rule) as entry (set_name)
    union all
    select entry.set_name, named.path || entry.set_name
    from named
    join analytics.cohort on cohort.name = named.set_name
    cross join lateral analytics._rule_sets(cohort.rule) as entry (set_name)
    where named.set_name <> _check_circle.name
      and cardinality(named.path) <= 10
  )
  select array_to_string(named.path, ' → ') into v_circle
  from named
  where named.set_name = _check_circle.name
  limit 1;
  if found then
    perform common.refuse(
      'CF001',
      format('"%s" names itself: %s', _check_circle.name, left(v_circle, 300)),
      'A cohort can be defined by others, but not by itself.'
    );
  end if;
end;
$$;

comment on function analytics._check_circle(text, jsonb) is $$
Raises CF001 for a rule that names its own cohort, also through others.
$$;
