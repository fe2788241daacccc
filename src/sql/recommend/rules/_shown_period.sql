/*
 * A definer: people may not read the rules. Learners execute it through recommend._context: for them, the sets are
 * their own ones, whatever the context states.
 */
create or replace function recommend._shown_period(context recommend.person_context, kind text)
returns interval
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
declare
  v_context recommend.person_context := _shown_period.context;
begin
  if not exists (select from recommend.rule where rule.action = 'not_again' and rule.is_active) then
    return null;
  end if;
  if v_context.person_sets <> '{}' and not track.reads_all_people() then
    v_context.person_sets := recommend._person_sets(track.current_person_id());
  end if;
  return (
    select max(known.period)
    from recommend._rules_of(v_context, _shown_period.kind, now()) as known
    where known.action = 'not_again'
  );
end;
$$;

comment on function recommend._shown_period(recommend.person_context, text) is $$
@behavior -*
Returns for how long an item that was served is left out of a list; null when no rule leaves it out.
$$;

grant execute on function recommend._shown_period(recommend.person_context, text)
to insights_reader, insights_learner;
