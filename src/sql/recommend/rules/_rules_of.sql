create or replace function recommend._rules_of(context recommend.person_context, kind text, at timestamptz)
returns setof recommend.rule
language sql
stable
parallel safe
begin atomic
  -- In SQL, because it is then a part of the statement that calls it.
  select rule.*
  from recommend.rule
  where rule.is_active
    and (rule.kind is null or rule.kind = _rules_of.kind)
    and (rule.active_from is null or rule.active_from <= _rules_of.at)
    and (rule.active_until is null or rule.active_until > _rules_of.at)
    and (
      rule.person_set is null
      or (rule.person_set = any (coalesce((_rules_of.context).person_sets, '{}'))) <> rule.is_outside_set
    );
end;

comment on function recommend._rules_of(recommend.person_context, text, timestamptz) is $$
@behavior -*
Returns the rules that apply to a list of a kind for a person at a time.
$$;
