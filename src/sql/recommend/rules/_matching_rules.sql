create or replace function recommend._matching_rules(rules recommend.rule[], items bigint[])
returns table (item_id bigint, name text, action text, amount float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
begin
  if _matching_rules.rules is null then
    return;
  end if;

  return query
  with rule as materialized (
    select given.*
    from unnest(_matching_rules.rules) as given
  ),

  candidate as materialized (
    select
      item.item_id,
      item.attributes,
      replace(lower(item.language), '_', '-') as language,
      -- All names of the item.
      case when exists (select from rule where rule.has_items) then array(
        select distinct listed.name
        from track.item as known
        join recommend.rule_item as listed on listed.item_id = known.item_id
        where known.item_id = item.item_id
          or known.merged_item_id = item.item_id
      ) end as listing_rules,
      case when exists (select from rule where rule.within_item_id is not null) then array(
        select distinct coalesce(known.merged_item_id, known.item_id)
        from track.item_ancestor as ancestor
        join track.item as known on known.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = item.item_id
      ) end as ancestors
    from track.item
    where item.item_id = any (_matching_rules.items)
  ),

  -- A subtree of an item that was merged is that of its target.
  placed as materialized (
    select
      rule.*,
      coalesce(root.merged_item_id, root.item_id) as root_item_id,
      -- One of the conditions, by which the pairs are found: an item is not compared with each of many rules.
      case
        when rule.has_items then 'item'
        when rule.within_item_id is not null then 'within'
        else coalesce(rule.attribute, '')
      end as condition,
      case
        when rule.has_items then rule.name
        when rule.within_item_id is not null then coalesce(root.merged_item_id, root.item_id)::text
        else coalesce(rule.attribute_value, '')
      end as value,
      rule.has_items or rule.within_item_id is not null as is_place
    from rule
    left join track.item as root on root.item_id = rule.within_item_id
  ),

  -- Each pair once: then there is no need to remove duplicates.
  fulfilled as (
    select candidate.item_id, true as is_place, 'item' as condition, listing.name as value
    from candidate
    cross join lateral unnest(candidate.listing_rules) as listing (name)

    union all

    select candidate.item_id, true, 'within', ancestor.item_id::text
    from candidate
    cross join lateral unnest(candidate.ancestors) as ancestor (item_id)

    union all

    select candidate.item_id, false, named.attribute, candidate.attributes ->> named.attribute
    from candidate
    cross join (
      select distinct placed.attribute from placed where not placed.is_place and placed.attribute is not null
    ) as named

    union all

    select candidate.item_id, false, named.attribute, entry.value
    from candidate
    cross join (
      select distinct placed.attribute from placed where not placed.is_place and placed.attribute is not null
    ) as named
    cross join lateral (
      select distinct element.value #>> '{}' as value
      from jsonb_array_elements(
        case jsonb_typeof(candidate.attributes -> named.attribute)
          when 'array' then candidate.attributes -> named.attribute
        end
      ) as element (value)
      where jsonb_typeof(element.value) = 'string'
    ) as entry

    union all

    select candidate.item_id, false, '', ''
    from candidate
    where exists (select from placed where placed.condition = '')
  )

  select candidate.item_id, placed.name, placed.action, placed.amount
  from placed
  join fulfilled using (is_place, condition, value)
  join candidate using (item_id)
  where (placed.root_item_id is null or placed.root_item_id = any (candidate.ancestors))
    and (
      placed.language is null
      or candidate.language = placed.language
      or starts_with(candidate.language, placed.language || '-')
    )
    and (
      placed.attribute is null
      or candidate.attributes ->> placed.attribute = placed.attribute_value
      or (
        jsonb_typeof(candidate.attributes -> placed.attribute) = 'array'
        and candidate.attributes -> placed.attribute ? placed.attribute_value
      )
    );
end;
$$;

comment on function recommend._matching_rules(recommend.rule[], bigint[]) is $$
@behavior -*
Returns the pairs of an item and a rule whose conditions it fulfils.
$$;
