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
as $$
begin
  return;
end;
$$;

comment on function recommend._boosts(recommend.person_context, text, bigint[]) is $$
@behavior -*
Returns the amounts that rules add to the scores of items.
$$;
