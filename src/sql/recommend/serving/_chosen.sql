create or replace function recommend._chosen(items bigint[], positions int[])
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select items[chosen.position]
    from unnest(positions) with ordinality as chosen (position, place)
    order by chosen.place
  );
end;
$$;

comment on function recommend._chosen(bigint[], int[]) is $$
@behavior -*
Returns the items at the given positions, in their order.
$$;

create or replace function recommend._unblocked(context recommend.person_context, kind text, items bigint[])
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select given.item_id
    from unnest(items) with ordinality as given (item_id, place)
    where given.item_id not in (
      select blocked.item_id
      from recommend._blocked(_unblocked.context, _unblocked.kind, _unblocked.items, now()) as blocked
    )
    order by given.place
  );
end;
$$;

comment on function recommend._unblocked(recommend.person_context, text, bigint[]) is $$
@behavior -*
Returns those of the given items that no rule leaves out, in their order. `kind` null: items of any kind.
$$;
