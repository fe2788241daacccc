/* A definer: it calls the functions of rules, which no role may call. It reads no data about people. */
create or replace function recommend.rule_problems()
returns setof recommend.rule_problem
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
begin
  return query
  with recursive edge as (
    select prerequisite.item_id as holder_id, prerequisite.required_item_id
    from track.prerequisite
  ),

  earlier as (
    select edge.holder_id, edge.required_item_id, edge.required_item_id as item_id
    from edge

    union

    select earlier.holder_id, earlier.required_item_id, next.item_id
    from earlier
    cross join lateral (
      select edge.required_item_id as item_id
      from edge
      where edge.holder_id = earlier.item_id

      union all

      select known.parent_item_id
      from track.item as known
      where known.item_id = earlier.item_id
    ) as next
    where earlier.item_id <> earlier.holder_id
      and next.item_id is not null
  )

  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which requires it in turn: this requirement is ignored', left(required.external_id, 100))
  from earlier
  join track.item as holder on holder.item_id = earlier.holder_id
  join track.item as required on required.item_id = earlier.required_item_id
  where earlier.item_id = earlier.holder_id
  order by holder.external_id, required.external_id;

  return query
  select
    'prerequisites',
    holder.external_id,
    format('requires "%s", which has ended: this requirement is ignored', left(required.external_id, 100))
  from track.prerequisite
  join track.item as holder on holder.item_id = prerequisite.item_id
  join track.item as required on required.item_id = prerequisite.required_item_id
  where exists (
    select
    from track.item_ancestor as ancestor
    join track.item as known on known.item_id = ancestor.ancestor_item_id
    where ancestor.item_id = required.item_id
      and known.available_until <= now()
  )
  order by holder.external_id, required.external_id;

  return query
  select
    'capacity',
    item.external_id,
    format('has the capacity %s, which is not a whole number: it is ignored',
      left((item.attributes -> 'capacity')::text, 100))
  from track.item
  where item.attributes ? 'capacity'
    and (item.attributes ->> 'capacity' !~ '^[0-9]{1,9}$' or item.attributes ->> 'capacity' is null)
  order by item.external_id;

  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include', 'boost')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    where item.kind <> 'merged'
    group by item.kind
  ),

  matched as (
    select found.name, count(*) as items
    from kind
    cross join lateral (
      select array_agg(rule::recommend.rule) as rules
      from rule
      where rule.kind is null
        or rule.kind = kind.kind
    ) as applied
    cross join lateral recommend._matching_rules(applied.rules, kind.items) as found
    group by found.name
  )

  select
    rule.name,
    null,
    case
      when matched.items is null and rule.action = 'include'
        then 'no item fulfils its conditions: its lists are empty unless another rule includes items'
      when matched.items is null then 'no item fulfils its conditions: it has no effect'
      else 'it excludes all items'
        || coalesce(' of kind "' || rule.kind || '"', '') || ': its lists are empty'
    end
  from rule
  left join matched using (name)
  where matched.items is null
    or rule.action = 'exclude'
      and matched.items = (
        select sum(cardinality(kind.items))
        from kind
        where rule.kind is null
          or rule.kind = kind.kind
      )
  order by rule.name;

  -- For everyone, and for each set of people that has include or exclude rules of its own.
  return query
  with rule as materialized (
    select known.*
    from recommend.rule as known
    where known.is_active
      and known.action in ('exclude', 'include')
      and (known.active_until is null or known.active_until > now())
  ),

  kind as materialized (
    select item.kind, array_agg(item.item_id) as items
    from track.item
    group by item.kind
    having item.kind = 'course'
      or exists (select from recommend._deployed_model(item.kind))
  ),

  audience as (
    select distinct rule.person_set, rule.is_outside_set and rule.person_set is not null as is_outside_set
    from rule

    union

    select null, false
  ),

  applied as materialized (
    select
      kind.kind,
      kind.items,
      audience.person_set,
      audience.is_outside_set,
      array_agg(rule::recommend.rule) filter (where rule.action = 'include') as including,
      array_agg(rule::recommend.rule) filter (where rule.action = 'exclude') as excluding,
      min(rule.name) filter (where rule.action = 'include') as name
    from kind
    cross join audience
    join rule
      on (rule.kind is null or rule.kind = kind.kind)
      and (
        rule.person_set is null
        or (rule.person_set = audience.person_set and rule.is_outside_set = audience.is_outside_set)
      )
    group by kind.kind, kind.items, audience.person_set, audience.is_outside_set
  ),

  emptied as (
    select applied.*
    from applied
    where applied.including is not null
      -- Rules that no item of any kind fulfils are named above.
      and exists (
        select
        from unnest(applied.including) as included
        where exists (
          select
          from (
            select array_agg(item.item_id) as items
            from track.item
            where item.kind <> 'merged'
              and (included.kind is null or item.kind = included.kind)
          ) as known
          cross join lateral recommend._matching_rules(array[included]::recommend.rule[], known.items) as found
        )
      )
      and not exists (
        select
        from recommend._matching_rules(applied.including, applied.items) as offered
        where offered.item_id not in (
          select excluded.item_id
          from recommend._matching_rules(applied.excluding, applied.items) as excluded
        )
      )
  )

  -- A set of people has the problems of everyone.
  select
    emptied.name,
    null,
    format(
      'include and exclude rules leave nothing in the lists of kind "%s"%s',
      left(emptied.kind, 100),
      case
        when emptied.is_outside_set then format(' for people outside of "%s"', left(emptied.person_set, 100))
        when emptied.person_set is not null then format(' for people of "%s"', left(emptied.person_set, 100))
        else ''
      end
    )
  from emptied
  where emptied.person_set is null
    or not exists (
      select
      from emptied as general
      where general.person_set is null
        and general.kind = emptied.kind
    )
  order by emptied.name, emptied.kind, emptied.person_set, emptied.is_outside_set;

  return query
  select known.name, null, 'its period is over: it has no effect'
  from recommend.rule as known
  where known.is_active
    and known.active_until <= now()
  order by known.name;

  return query
  select
    known.name,
    target.external_id,
    format('is of kind "%s": lists of kind "%s" do not contain it', target.kind, known.kind)
  from recommend.rule as known
  join recommend.rule_item as listed using (name)
  join track.item as given on given.item_id = listed.item_id
  join track.item as target on target.item_id = coalesce(given.merged_item_id, given.item_id)
  where known.is_active
    and known.kind <> target.kind
  order by known.name, target.external_id;
end;
$$;

comment on function recommend.rule_problems() is $$
Returns rules and prerequisites that do not have the effect that is written.
These are requirements that are ignored because they are part of a circle or have ended, capacities that are not
numbers, rules that no item fulfils, that leave nothing in a list, or whose period is over, and items of another kind
than their rule.
$$;

grant execute on function recommend.rule_problems() to insights_analyst, insights_admin, insights_worker;
