/* A definer owned by insights_reader: learners may not execute `_why_not`, which takes the context of any person. */
create or replace function recommend.why_not_me(item text, top int default 10)
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
  v_item_id bigint;
  v_kind text;
  v_context recommend.person_context;
begin
  perform common.check_count('top', why_not_me.top, 1, 1000);
  v_item_id := (recommend._find_items(array[why_not_me.item]))[1];
  v_kind := (select known.kind from track.item as known where known.item_id = v_item_id);
  v_context := recommend._my_context(v_kind);
  return recommend._why_not(v_context, v_item_id, why_not_me.top, recommend._arm(v_context, v_kind));
end;
$$;

alter function recommend.why_not_me(text, int) owner to insights_reader;

comment on function recommend.why_not_me(text, int) is $$
Returns why the list of the first `top` items for the signed-in person does not contain an item, or else its rank.
As `recommend.why_not`; of the rules of administrators, `rule` is the action, such as `exclude`.
Errors: CF001 for `top`, CF002 for an unknown item (names the nearest).
$$;

grant execute on function recommend.why_not_me(text, int) to insights_learner;
