/*
 * The only place that decides what is left out. The order is that of the branches of the union: the first one that
 * leaves an item out is its reason. Branches that no rule needs are not executed.
 */
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
set plan_cache_mode to force_generic_plan
-- Few rows of small tables: by index, not by reading the table again for each.
set random_page_cost to 1.1
as $$
declare
  v_left_out constant bigint[] := (_blocked.context).left_out;
  v_topics constant text[] := (_blocked.context).dismissed_topics;
  v_finished constant bigint[] := coalesce((_blocked.context).finished, '{}');
  v_started constant bigint[] := array(
    select state.item_id
    from unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
    where state.reason in ('enrolled', 'taken', 'completed', 'known')
  );
  v_languages constant text[] := array(
    select split_part(replace(lower(spoken.language), '_', '-'), '-', 1)
    from unnest((_blocked.context).languages) as spoken (language)
  );
  v_shown constant bigint[] := (_blocked.context).shown;
  v_rules record;
  -- Items that something may leave out. Of these, those that are part of another one, and those with a capacity.
  v_items bigint[];
  v_parts bigint[];
  v_limited bigint[];
begin
  -- Items of several kinds: each by the rules of its own kind.
  if _blocked.kind is null then
    return query
    select left_out.*
    from (
      select coalesce(item.kind, 'unknown') as kind, array_agg(given.item_id) as items
      from unnest(_blocked.items) as given (item_id)
      left join track.item on item.item_id = given.item_id
      group by coalesce(item.kind, 'unknown')
    ) as part
    cross join lateral recommend._blocked(_blocked.context, part.kind, part.items, _blocked.at) as left_out;
    return;
  end if;

  -- Of several rules of the same check, the first by name is reported, and the longest period applies.
  select
    min(known.name) filter (where known.action = 'topic') as topic,
    min(known.name) filter (where known.action = 'availability') as availability,
    min(known.name) filter (where known.action = 'prerequisites') as prerequisites,
    min(known.name) filter (where known.action = 'capacity') as capacity,
    min(known.name) filter (where known.action = 'language') as language,
    min(known.name) filter (where known.action = 'not_again') as not_again,
    max(known.period) as period,
    array_agg(known) filter (where known.action = 'exclude') as excluding,
    array_agg(known) filter (where known.action = 'include') as including,
    min(known.name) filter (where known.action = 'include') as include
  into v_rules
  from recommend._rules_of(_blocked.context, _blocked.kind, _blocked.at) as known;

  select
    array_agg(doubtful.item_id),
    coalesce(array_agg(doubtful.item_id) filter (where doubtful.is_part), '{}'),
    coalesce(array_agg(doubtful.item_id) filter (where doubtful.is_limited), '{}')
  into v_items, v_parts, v_limited
  from (
    select distinct
      given.item_id,
      item.parent_item_id is not null as is_part,
      item.attributes ->> 'capacity' ~ '^[0-9]{1,9}$' as is_limited
    from unnest(_blocked.items) as given (item_id)
    left join track.item on item.item_id = given.item_id
    where item.kind is distinct from _blocked.kind
      or item.merged_item_id is not null
      or item.parent_item_id is not null
      or item.available_from > _blocked.at
      or item.available_until <= _blocked.at
      or item.attributes ? 'capacity'
      or given.item_id in (select state.item_id from unnest(v_left_out || v_shown) as state (item_id))
      or exists (select from track.prerequisite where prerequisite.item_id = given.item_id)
      or v_topics <> '{}'
      or v_rules.language is not null
      or v_rules.excluding is not null
      or v_rules.including is not null
  ) as doubtful;
  if v_items is null then
    return;
  end if;

  return query
  with candidate as materialized (
    select
      given.item_id, item.kind, item.merged_item_id, item.language, item.attributes, item.available_from,
      item.available_until
    from unnest(v_items) as given (item_id)
    left join track.item on item.item_id = given.item_id
  ),

  left_out as (
    select
      1 as place,
      candidate.item_id,
      case when candidate.merged_item_id is not null then 'merged' else 'kind' end as rule,
      case
        when candidate.kind is null then 'Not a known item'
        when candidate.merged_item_id is not null then 'Another name of an item'
        else format('An item of kind "%s", not "%s"', candidate.kind, left(_blocked.kind, 100))
      end as detail
    from candidate
    where candidate.kind is distinct from _blocked.kind
      or candidate.merged_item_id is not null

    union all

    select
      2,
      candidate.item_id,
      state.reason,
      case state.reason
        when 'own' then 'Taught or written by the person'
        when 'completed' then 'Finished already'
        when 'known' then 'Known already'
        when 'enrolled' then 'Enrolled already'
        when 'taken' then 'Taken already'
        when 'dropped' then 'Dropped earlier'
        when 'dismissed' then 'Dismissed earlier'
        when 'disliked' then 'Disliked'
        else state.reason
      end
    from candidate
    join unnest(v_left_out, (_blocked.context).left_out_reasons) as state (item_id, reason)
      on state.item_id = candidate.item_id

    union all

    select 3, known.item_id, v_rules.topic, format('The topic "%s" was dismissed', left(known.topic, 100))
    from recommend._topics(v_items) as known
    where v_rules.topic is not null
      and v_topics <> '{}'
      and known.topic = any (v_topics)

    union all

    -- Of the item, or else of the nearest item that contains it.
    (
      select distinct on (dated.item_id)
        4,
        dated.item_id,
        v_rules.availability,
        case
          when dated.available_until <= _blocked.at
            then coalesce('Not available since ' || recommend._time_text(dated.available_until), 'Not available')
          else coalesce('Available from ' || recommend._time_text(dated.available_from), 'Not available')
        end
      from (
        select candidate.item_id, 0 as depth, candidate.available_from, candidate.available_until
        from candidate

        union all

        select ancestor.item_id, ancestor.depth, known.available_from, known.available_until
        from track.item_ancestor as ancestor
        join track.item as known on known.item_id = ancestor.ancestor_item_id
        where ancestor.item_id = any (v_parts)
          and ancestor.depth > 0
      ) as dated
      where v_rules.availability is not null
        and (dated.available_until <= _blocked.at or dated.available_from > _blocked.at)
      order by dated.item_id, dated.depth
    )

    union all

    select 5, unmet.item_id, v_rules.prerequisites, unmet.detail
    from recommend._unmet_prerequisites(
      v_items, v_parts, v_finished, v_started, _blocked.at
    ) as unmet
    where v_rules.prerequisites is not null

    union all

    select
      6,
      candidate.item_id,
      v_rules.capacity,
      format('Full: all %s places are taken', candidate.attributes ->> 'capacity')
    from candidate
    left join (
      select enrolment.item_id, count(distinct enrolment.person_id) as people
      from track.enrolment
      where enrolment.item_id = any (v_limited)
        and enrolment.status = 'active'
      group by enrolment.item_id
    ) as taken using (item_id)
    where v_rules.capacity is not null
      and candidate.item_id = any (v_limited)
      and coalesce(taken.people, 0) >= (candidate.attributes ->> 'capacity')::int

    union all

    select
      7,
      candidate.item_id,
      v_rules.language,
      format('In the language "%s"', left(candidate.language, 100))
    from candidate
    where v_rules.language is not null
      and v_languages <> '{}'
      and split_part(replace(lower(candidate.language), '_', '-'), '-', 1) <> all (v_languages)

    union all

    select
      8,
      candidate.item_id,
      v_rules.not_again,
      'Shown on ' || recommend._time_text(served.shown_at)
    from candidate
    join unnest(v_shown, (_blocked.context).shown_at) as served (item_id, shown_at)
      on served.item_id = candidate.item_id
    where v_rules.not_again is not null
      and served.shown_at > _blocked.at - v_rules.period

    union all

    select 9, matched.item_id, min(matched.name), 'Not offered at present'
    from recommend._matching_rules(v_rules.excluding, v_items) as matched
    where v_rules.excluding is not null
    group by matched.item_id

    union all

    select 10, candidate.item_id, v_rules.include, 'Not among the items that are offered at present'
    from candidate
    where v_rules.including is not null
      and candidate.item_id not in (
        select matched.item_id
        from recommend._matching_rules(v_rules.including, v_items) as matched
      )
  )

  select distinct on (left_out.item_id) left_out.item_id, left_out.rule, left_out.detail
  from left_out
  order by left_out.item_id, left_out.place;
end;
$$;

comment on function recommend._blocked(recommend.person_context, text, bigint[], timestamptz) is $$
@behavior -*
Returns those of the given items that are not recommended to a person at a time, each with the first rule for it.
In this order: another kind or name of an item, what the person did (`left_out_reasons`), a dismissed topic,
availability, prerequisites, capacity, language, shown lately, rules that exclude the item, rules that include only
others. Availability and prerequisites are also those of the items that contain it, but without the prerequisites of
one that the person is in already. `kind` null: items of any kind, each by the rules of its own.
$$;
