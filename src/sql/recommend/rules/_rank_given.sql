/* A definer, as recommend._rank: what depends on the person is an argument, and no data about people is read. */
create or replace function recommend._rank_given(
  context recommend.person_context,
  kind text,
  items text[],
  arm recommend.arm default null
)
returns setof recommend.ranked_item
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_items constant bigint[] := array(
    select given.item_id
    from unnest(recommend._find_items(_rank_given.items)) with ordinality as given (item_id, place)
    group by given.item_id
    order by min(given.place)
  );
  v_reads_all constant boolean := track.reads_all_people();
begin
  if _rank_given.items is null then
    perform common.refuse('CF001', 'items is null', 'Give the names of the items to rank.');
  end if;
  if v_items = '{}' then
    return;
  end if;

  return query
  select
    listed.rank, listed.item_id, listed.item, listed.title, listed.score, listed.reasons, listed.basis, null::text,
    null::text
  from recommend._rank(
    _rank_given.context, row(_rank_given.kind, 1000, '{}', v_items, 0, false, null)::recommend.request,
    arm => _rank_given.arm
  ) as listed
  order by listed.rank;

  return query
  select
    null::int, item.item_id, item.external_id, item.title, null::float8, null::recommend.reason[], null::text,
    case when v_reads_all then blocked.rule else coalesce(rule.action, blocked.rule) end,
    blocked.detail
  from recommend._blocked(_rank_given.context, _rank_given.kind, v_items, now()) as blocked
  join track.item using (item_id)
  left join recommend.rule on rule.name = blocked.rule
  order by array_position(v_items, blocked.item_id);
end;
$$;

comment on function recommend._rank_given(recommend.person_context, text, text[], recommend.arm) is $$
@behavior -*
Returns the given items with their ranks among each other and scores for a person, best first.
Those that are left out follow, each with its rule.
$$;

grant execute on function recommend._rank_given(recommend.person_context, text, text[], recommend.arm)
to insights_reader;
