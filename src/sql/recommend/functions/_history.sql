create or replace function recommend._history(
  person_id bigint,
  kind text
)
returns table (item_id bigint, strength real, is_left_out boolean)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_context constant recommend.person_context := recommend._context(_history.person_id, null, _history.kind);
begin
  return query
  select
    coalesce(used.item_id, left_out.item_id),
    coalesce(used.strength, 0),
    left_out.item_id is not null
  from unnest((v_context).items, (v_context).strengths) as used (item_id, strength)
  full join unnest((v_context).left_out) as left_out (item_id) on left_out.item_id = used.item_id;
end;
$$;

comment on function recommend._history(bigint, text) is $$
@behavior -*
Returns the items of a kind that a person has interacted with: the lists of `recommend._context` as rows.
$$;

grant execute on function recommend._history(bigint, text) to insights_reader, insights_learner;
