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

create or replace function recommend._minus(items bigint[], others bigint[])
returns bigint[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  return array(
    select given.item_id
    from unnest(items) with ordinality as given (item_id, place)
    where given.item_id not in (select other.item_id from unnest(others) as other (item_id))
    order by given.place
  );
end;
$$;

comment on function recommend._minus(bigint[], bigint[]) is $$
@behavior -*
Returns the items without others, in their order.
$$;

create or replace function recommend._bases(
  items bigint[],
  candidates bigint[],
  bases text[],
  pins bigint[],
  first_items bigint[]
)
returns text[]
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
begin
  -- Most lists have candidates of one tier alone.
  if bases[1] = all (bases) and pins = '{}' and first_items = '{}' then
    return array_fill(bases[1], array[cardinality(items)]);
  end if;
  return array(
    select case
      when given.item_id = any (pins) then 'pinned'
      when given.item_id = any (first_items) then 'next'
      else candidate.basis
    end
    from unnest(items) with ordinality as given (item_id, place)
    left join unnest(candidates, bases) as candidate (item_id, basis) using (item_id)
    order by given.place
  );
end;
$$;

comment on function recommend._bases(bigint[], bigint[], text[], bigint[], bigint[]) is $$
@behavior -*
Returns what each item of a list is based on.
$$;

create or replace function recommend._diversified(
  context recommend.person_context,
  candidates bigint[],
  scores float8[],
  bases text[],
  allowed int[],
  top int,
  diversity float8
)
returns bigint[]
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_list constant bigint[] := recommend._chosen(candidates, allowed);
  -- Scores are comparable only between items with the same basis: those that the list begins with.
  v_count int := 0;
begin
  while v_count < cardinality(allowed) and bases[allowed[v_count + 1]] = bases[allowed[1]] loop
    v_count := v_count + 1;
  end loop;
  return recommend._diversify(
    context,
    v_list[:v_count],
    array(
      select scores[chosen.place]
      from unnest(allowed[:v_count]) with ordinality as chosen (place, n)
      order by chosen.n
    ),
    top,
    diversity
  ) || v_list[v_count + 1:];
end;
$$;

comment on function recommend._diversified(
  recommend.person_context, bigint[], float8[], text[], int[], int, float8
) is $$
@behavior -*
Returns the allowed candidates in an order in which the first `top` are diverse (`recommend._diversify`).
$$;
