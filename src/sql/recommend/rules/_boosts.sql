create or replace function recommend._boosts(
  context recommend.person_context,
  kind text,
  items bigint[]
)
returns table (item_id bigint, rule text, amount float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_rules constant recommend.rule[] := (
    select array_agg(known)
    from recommend._rules_of(_boosts.context, _boosts.kind, now()) as known
    where known.action = 'boost'
  );
begin
  if v_rules is null then
    return;
  end if;
  return query
  select matched.item_id, matched.name, matched.amount
  from recommend._matching_rules(v_rules, _boosts.items) as matched;
end;
$$;

comment on function recommend._boosts(recommend.person_context, text, bigint[]) is $$
@behavior -*
Returns the amounts that rules add to the scores of the given items: one row per item and rule.
$$;
