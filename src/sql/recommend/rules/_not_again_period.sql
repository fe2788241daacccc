/* A definer: people may not read the rules, which name sets of people. It returns a period only. */
create or replace function recommend._not_again_period(kind text)
returns interval
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  return (
    select max(rule.period)
    from recommend.rule
    where rule.action = 'not_again'
      and rule.is_active
      and (rule.kind is null or rule.kind = _not_again_period.kind)
      and (rule.active_from is null or rule.active_from <= now())
      and (rule.active_until is null or rule.active_until > now())
  );
end;
$$;

comment on function recommend._not_again_period(text) is $$
@behavior -*
Returns the longest period of the active rules that leave out what was served lately; null when there is none.
For any people: `recommend._blocked` decides which of the rules apply.
$$;

grant execute on function recommend._not_again_period(text) to insights_reader, insights_learner;
