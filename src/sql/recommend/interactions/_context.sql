create or replace function recommend._context(
  person_id bigint,
  identity_id bigint,
  kind text
)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
declare
  v_context recommend.person_context;
begin
  select
    _context.person_id,
    coalesce(_context.identity_id, 0),
    coalesce(array_agg(history.item_id order by history.item_id) filter (where history.strength <> 0), '{}'),
    coalesce(array_agg(history.strength order by history.item_id) filter (where history.strength <> 0), '{}'),
    coalesce(array_agg(history.item_id order by history.item_id) filter (where history.is_left_out), '{}'),
    coalesce(array_agg('taken'::text order by history.item_id) filter (where history.is_left_out), '{}'),
    '{}', '{}', '{}',
    case
      when privacy.allowed(_context.person_id, 'personalization') then recommend._person_sets(_context.person_id)
      else '{}'
    end,
    '{}', '{}'
  into v_context
  from recommend._history(_context.person_id, _context.kind) as history;
  return v_context;
end;
$$;

comment on function recommend._context(bigint, bigint, text) is $$
@behavior -*
Returns what lists for a person depend on, as far as the caller may read it.
$$;

grant execute on function recommend._context(bigint, bigint, text) to insights_reader, insights_learner;
