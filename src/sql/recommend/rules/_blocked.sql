create or replace function recommend._blocked(
  context recommend.person_context,
  kind text,
  items bigint[],
  at timestamptz
)
returns table (item_id bigint, rule text, detail text)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
as $$
begin
  return query
  select
    given.item_id,
    case
      when item.kind is distinct from _blocked.kind then 'kind'
      when left_out.item_id is not null then left_out.reason
      else 'availability'
    end,
    null
  from unnest(_blocked.items) as given (item_id)
  left join unnest((_blocked.context).left_out, (_blocked.context).left_out_reasons) as left_out (item_id, reason)
    on left_out.item_id = given.item_id
  left join track.item on item.item_id = given.item_id
  where item.kind is distinct from _blocked.kind
    or left_out.item_id is not null
    or item.available_from > _blocked.at
    or item.available_until <= _blocked.at;
end;
$$;

comment on function recommend._blocked(recommend.person_context, text, bigint[], timestamptz) is $$
@behavior -*
Returns the items that must not be recommended to a person at a time, each with the first rule that leaves it out.
$$;
