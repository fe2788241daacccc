create or replace function recommend._pins(
  context recommend.person_context,
  kind text
)
returns table (item_id bigint, place int, rule text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return;
end;
$$;

comment on function recommend._pins(recommend.person_context, text) is $$
@behavior -*
Returns the items that rules put on a place of each list.
$$;
