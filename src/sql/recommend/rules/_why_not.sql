/*
 * A definer, as recommend._rank: what depends on the person is an argument, and no data about people is read. The names
 * of rules are only for those who read the data of all people: a name may tell why a set of people has a rule.
 */
create or replace function recommend._why_not(
  context recommend.person_context, item_id bigint, top int, arm recommend.arm default null
)
returns recommend.verdict
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_item constant track.item := (select item from track.item where item.item_id = _why_not.item_id);
  v_most constant int := 1000;
  v_verdict recommend.verdict;
  v_found record;
begin
  v_verdict.item_id := v_item.item_id;
  v_verdict.item := v_item.external_id;
  v_verdict.title := v_item.title;
  v_verdict.is_recommended := false;

  select blocked.rule, blocked.detail into v_verdict.rule, v_verdict.detail
  from recommend._blocked(_why_not.context, v_item.kind, array[v_item.item_id], now()) as blocked;
  if found then
    if not track.reads_all_people() then
      v_verdict.rule := coalesce(
        (select rule.action from recommend.rule where rule.name = v_verdict.rule), v_verdict.rule
      );
    end if;
    return v_verdict;
  end if;

  -- In the list of this length, or else in the longest one.
  foreach v_verdict.rank in array array[_why_not.top] || array_remove(array[v_most], _why_not.top) loop
    select
      count(*) as count,
      max(listed.rank) filter (where listed.item_id = v_item.item_id) as rank,
      max(listed.score) filter (where listed.item_id = v_item.item_id) as score,
      max(listed.basis) filter (where listed.item_id = v_item.item_id) as basis
    into v_found
    from recommend._rank(
      _why_not.context,
      row(v_item.kind, v_verdict.rank, '{}', null, null, false, null)::recommend.request,
      arm => _why_not.arm
    ) as listed;
    exit when v_found.rank is not null;
  end loop;
  v_verdict.rank := v_found.rank;
  v_verdict.score := v_found.score;
  v_verdict.basis := v_found.basis;
  v_verdict.is_recommended := coalesce(v_found.rank <= _why_not.top, false);
  if v_found.rank is null then
    v_verdict.rule := 'rank';
    v_verdict.detail := case
      when v_found.count = v_most then format('Not among the first %s items', v_most)
      else 'Not among the candidates: those of the model, similar and popular ones, and the newest 20,000'
    end;
  elsif v_verdict.is_recommended then
    v_verdict.detail := format('Recommended, at rank %s', v_found.rank);
  else
    v_verdict.rule := 'rank';
    v_verdict.detail := format('At rank %s, after the first %s items', v_found.rank, _why_not.top);
  end if;
  return v_verdict;
end;
$$;

comment on function recommend._why_not(recommend.person_context, bigint, int, recommend.arm) is $$
@behavior -*
Returns whether the list of the first `top` items for a person contains an item, and what left it out otherwise.
$$;

grant execute on function recommend._why_not(recommend.person_context, bigint, int, recommend.arm) to insights_reader;
