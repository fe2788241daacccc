/* A definer owned by insights_reader: workers and admins query any person without privileges on the tables. */
create or replace function recommend.why_not(person text, item text, top int default 10)
returns recommend.verdict
language plpgsql
volatile
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
  perform recommend._check_person(why_not.person);
  perform common.check_count('top', why_not.top, 1, 1000);
  v_item_id := (recommend._find_items(array[why_not.item]))[1];
  perform privacy.record_disclosure(array[track.find_person(why_not.person)], 'recommend.why_not');
  v_kind := (select known.kind from track.item as known where known.item_id = v_item_id);
  v_context := recommend._named_context(why_not.person, v_kind);
  return recommend._why_not(v_context, v_item_id, why_not.top, recommend._arm(v_context, v_kind));
end;
$$;

alter function recommend.why_not(text, text, int) owner to insights_reader;

comment on function recommend.why_not(text, text, int) is $$
@behavior -mutationField +queryField
Returns why the list of the first `top` items for a person does not contain an item, or its rank when it does.
`person` is a `userId` or `anonymousId`. The list is that of `recommend.for_person` for the kind of the item, without
random draws. `rule` names the first rule that leaves the item out, or what the person did (`completed`, `taken`, …), or
is `rank` when other items are better; then `rank` and `score` are those of the item, among the first 1,000.
Errors: CF001 for an empty name and for `top`, CF002 for an unknown item (names the nearest).
These reads are logged in `privacy.disclosure`, not those of workers; CF005 in a read-only transaction.
$$;

grant execute on function recommend.why_not(text, text, int) to insights_admin, insights_worker;
