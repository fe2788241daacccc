create or replace function recommend._context(person_id bigint, identity_id bigint, kind text)
returns recommend.person_context
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- The statistics of the queues are often those of empty tables.
set enable_seqscan to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_person_id constant bigint := _context.person_id;
  v_setting constant recommend.setting := (select setting from recommend.setting);
  v_full_weight constant real := (v_setting).full_weight;
  v_kept_kinds constant text[] := (v_setting).kept_kinds;
  -- Period of the events that are queued for the refresh. In it, the stored interactions are incomplete.
  v_since timestamptz;
  v_until timestamptz;
  v_is_behind boolean;
  v_changed bigint[] := '{}';
  v_first_at timestamptz;
  v_own bigint[] := '{}';
  v_topics text[];
  v_dismissed_at timestamptz[];
  v_withdrawn_at timestamptz[];
  v_topical bigint[];
  v_topical_at timestamptz[];
  v_period interval;
  v_most_items constant int := 500;
  v_context recommend.person_context := row(
    v_person_id, coalesce(_context.identity_id, 0), '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'
  );
begin
  -- Without consent no data is read.
  if v_person_id is null or not privacy.allowed(v_person_id, 'personalization') then
    return v_context;
  end if;

  select min(queued.since), max(queued.until)
  into v_since, v_until
  from (
    select stale.since, stale.until
    from track.stale
    where stale.person_id = v_person_id

    union all

    select changed.since, changed.until
    from track.changed
    where changed.person_id = v_person_id
      and changed.consumer = 'recommend.interaction'
  ) as queued;
  v_is_behind := v_since is not null;

  -- Items with events in this period are computed from events. The stored interactions of the others are complete.
  if v_since = '-infinity' then
    v_changed := null;
    v_first_at := '-infinity';
  elsif v_is_behind then
    with noticed as materialized (
      select distinct event.item_id
      from track.event
      where event.person_id = v_person_id
        and event.occurred_at between v_since and v_until
        and event.item_id is not null
    )

    select
      coalesce(array_agg(distinct changed.item_id) filter (where changed.item_id is not null), '{}'),
      least(min(changed.first_at), v_since)
    into v_changed, v_first_at
    from (
      select interaction.item_id, interaction.first_at
      from recommend.interaction
      where interaction.person_id = v_person_id
        and (
          interaction.first_at <= v_until and interaction.last_at >= v_since
          or interaction.item_id in (select noticed.item_id from noticed)
        )

      union all

      select noticed.item_id, null
      from noticed

      union all

      -- Of a topic, only the last times are stored.
      select null, '-infinity'
      from recommend.dismissed_topic
      where dismissed_topic.person_id = v_person_id
        and (
          dismissed_topic.dismissed_at between v_since and v_until
          or dismissed_topic.withdrawn_at between v_since and v_until
        )
    ) as changed;
  end if;

  -- Items that the person teaches or wrote, with all that they contain: her use is not that of a learner.
  if exists (select from track.item_role where item_role.person_id = v_person_id) then
    v_own := array(
      select distinct ancestor.item_id
      from track.applied_item_role as item_role
      join track.item_ancestor as ancestor on ancestor.ancestor_item_id = item_role.item_id
      where item_role.person_id = v_person_id
    );
  end if;

  with leaf as materialized (
    select
      interaction.item_id, interaction.weight, interaction.last_at, interaction.completed_at,
      interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at, interaction.liking,
      interaction.liked_at, interaction.known_at, interaction.topic_dismissed_at, interaction.withdrawn_at,
      null as topic, null::timestamptz as taken_at, null::timestamptz as enrolled_at
    from recommend.interaction
    where interaction.person_id = v_person_id
      and (not v_is_behind or interaction.item_id <> all (v_changed))

    union all

    select
      null, null, null, null, null, null, null, null, null, null, dismissed_topic.dismissed_at,
      dismissed_topic.withdrawn_at, dismissed_topic.topic, null, null
    from recommend.dismissed_topic
    where dismissed_topic.person_id = v_person_id
      and v_first_at is distinct from '-infinity'

    union all

    select recomputed.*, null
    from recommend._recomputed_of(v_person_id, v_changed, v_first_at) as recomputed
    where v_is_behind

    union all

    -- Items that the person had taken before the events were deleted.
    select
      coalesce(item.merged_item_id, item.item_id), 0, taken.last_at, taken.completed_at, taken.dismissed_at,
      taken.dropped_at, null, taken.liking, taken.liked_at, taken.known_at, taken.topic_dismissed_at, null, null,
      taken.taken_at, null
    from recommend.taken
    join track.item using (item_id)
    where taken.person_id = v_person_id

    union all

    -- An enrolment that the application reports counts as taken.
    select
      enrolment.item_id, v_full_weight, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      null,
      case when enrolment.status = 'dropped' then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when enrolment.status <> 'dropped' then enrolment.enrolled_at end,
      null, null, null, null, null, null, null,
      case when enrolment.status = 'active' then enrolment.enrolled_at end
    from track.enrolment
    where enrolment.person_id = v_person_id
  ),

  -- By arrays, so that the items are looked up by index whatever the size of the catalogue.
  part as materialized (
    select ancestor.item_id, ancestor.ancestor_item_id
    from track.item_ancestor as ancestor
    where ancestor.item_id = any (
      array(
        select leaf.item_id
        from leaf
        where v_own = '{}' or leaf.item_id <> all (v_own)
      )
    )
  ),

  -- Courses too: the person is in them already, which matters for their parts.
  target as materialized (
    select item.item_id, item.kind = _context.kind as is_of_kind
    from track.item
    where item.item_id = any (array(select part.ancestor_item_id from part))
      and (item.kind = _context.kind or item.kind = any (v_kept_kinds))
  ),

  used as (
    select target.item_id, target.is_of_kind, sum(leaf.weight::float8) as weight, max(leaf.last_at) as last_at
    from target
    join part on part.ancestor_item_id = target.item_id
    join leaf on leaf.item_id = part.item_id
    group by target.item_id, target.is_of_kind
  ),

  -- Events that are not only use. Most items of a person have none.
  expressed as materialized (
    select leaf.*
    from leaf
    where num_nonnulls(
        leaf.completed_at, leaf.dismissed_at, leaf.dropped_at, leaf.resumed_at, leaf.liked_at, leaf.known_at,
        leaf.topic_dismissed_at, leaf.withdrawn_at, leaf.topic, leaf.taken_at, leaf.enrolled_at
      ) > 0
  ),

  -- Those of the item itself, not of parts of it.
  said as materialized (
    select
      expressed.item_id,
      max(expressed.completed_at) as completed_at,
      max(expressed.dismissed_at) as dismissed_at,
      max(expressed.dropped_at) as dropped_at,
      max(expressed.resumed_at) as resumed_at,
      (array_agg(expressed.liking order by expressed.liked_at desc nulls last))[1] as liking,
      max(expressed.liked_at) as liked_at,
      max(expressed.known_at) as known_at,
      max(expressed.withdrawn_at) as withdrawn_at,
      max(expressed.taken_at) as taken_at,
      max(expressed.enrolled_at) as enrolled_at
    from expressed
    where expressed.topic is null
      and (v_own = '{}' or expressed.item_id <> all (v_own))
    group by expressed.item_id
  ),

  stated as (
    select
      said.item_id, said.completed_at, said.dismissed_at, said.dropped_at, said.resumed_at, said.withdrawn_at,
      said.taken_at, said.enrolled_at,
      case when said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liking end as liking,
      case
        when said.liking > 0 and said.liked_at > coalesce(said.withdrawn_at, '-infinity') then said.liked_at
      end as liked_at,
      coalesce(said.known_at > coalesce(said.withdrawn_at, '-infinity'), false) as is_known
    from said
  ),

  judged as materialized (
    select
      stated.*,
      recommend._is_rejected(stated.dismissed_at, stated.withdrawn_at, stated.resumed_at, stated.liked_at)
        as is_dismissed,
      stated.completed_at is null
        and recommend._is_rejected(stated.dropped_at, null, stated.resumed_at, stated.liked_at) as is_dropped
    from stated
  ),

  listed as (
    select
      used.item_id,
      used.last_at,
      case
        when used.is_of_kind then recommend._strength(
          used.weight, v_full_weight, judged.liking, judged.is_dismissed or judged.is_dropped
        )
        else 0
      end as strength,
      case
        when judged.completed_at is not null then 'completed'
        when judged.is_known then 'known'
        when judged.is_dropped then 'dropped'
        when judged.is_dismissed then 'dismissed'
        when judged.liking < 0 then 'disliked'
        when judged.enrolled_at is not null then 'enrolled'
        when judged.taken_at is not null or used.weight >= v_full_weight then 'taken'
      end as reason
    from used
    left join judged using (item_id)

    union all

    select item.item_id, null, 0, 'own'
    from unnest(v_own) as own (item_id)
    join track.item using (item_id)
    where item.kind = _context.kind
  )

  select
    coalesce(list.items, '{}'), coalesce(list.strengths, '{}'), coalesce(list.left_out, '{}'),
    coalesce(list.reasons, '{}'), coalesce(done.items, '{}'),
    topic.topics, topic.dismissed_at, topic.withdrawn_at, topic.items, topic.items_at
  into
    v_context.items, v_context.strengths, v_context.left_out, v_context.left_out_reasons, v_context.finished,
    v_topics, v_dismissed_at, v_withdrawn_at, v_topical, v_topical_at
  from (
    select
      array_agg(listed.item_id order by listed.last_at, listed.item_id) filter (where listed.strength <> 0) as items,
      array_agg(listed.strength order by listed.last_at, listed.item_id) filter (where listed.strength <> 0)
        as strengths,
      array_agg(listed.item_id order by listed.item_id) filter (where listed.reason is not null) as left_out,
      array_agg(listed.reason order by listed.item_id) filter (where listed.reason is not null) as reasons
    from listed
  ) as list
  cross join (
    select array_agg(judged.item_id order by judged.item_id) as items
    from judged
    where judged.completed_at is not null
      or judged.is_known
  ) as done
  cross join (
    select
      array_agg(said.topic) filter (where said.topic is not null) as topics,
      array_agg(said.dismissed_at) filter (where said.topic is not null) as dismissed_at,
      array_agg(said.withdrawn_at) filter (where said.topic is not null) as withdrawn_at,
      array_agg(said.item_id) filter (where said.topic is null) as items,
      array_agg(said.dismissed_at) filter (where said.topic is null) as items_at
    from (
      select
        expressed.topic, expressed.item_id,
        max(expressed.topic_dismissed_at) as dismissed_at,
        max(expressed.withdrawn_at) as withdrawn_at
      from expressed
      group by expressed.topic, expressed.item_id
    ) as said
    where said.topic is not null
      or said.dismissed_at > coalesce(said.withdrawn_at, '-infinity')
  ) as topic;
  -- The cost of a list is in proportion to these items. What is left out, and what is finished, is complete.
  v_context.items := v_context.items[cardinality(v_context.items) - v_most_items + 1:];
  v_context.strengths := v_context.strengths[cardinality(v_context.strengths) - v_most_items + 1:];

  if num_nonnulls(v_topics, v_topical) > 0 then
    v_context.dismissed_topics := array(
      select said.topic
      from (
        select named.topic, named.dismissed_at, named.withdrawn_at
        from unnest(v_topics, v_dismissed_at, v_withdrawn_at) as named (topic, dismissed_at, withdrawn_at)

        union all

        select item.topic, named.dismissed_at, null
        from unnest(v_topical, v_topical_at) as named (item_id, dismissed_at)
        join recommend._topics(v_topical) as item using (item_id)
      ) as said
      group by said.topic
      having max(said.dismissed_at) > coalesce(max(said.withdrawn_at), '-infinity')
      order by said.topic collate "C"
    );
  end if;

  v_context.person_sets := recommend._person_sets(v_person_id);

  -- Items that were served lately, if a rule leaves them out.
  v_period := recommend._shown_period(v_context, _context.kind);
  if v_period is not null then
    select recent.shown, recent.shown_at into v_context.shown, v_context.shown_at
    from recommend._recently_shown(v_person_id, v_period) as recent;
  end if;

  -- As the application sends it: "de", "pt-BR", "en_GB.UTF-8" or a list of them.
  v_context.languages := array(
    select distinct split_part(replace(lower(btrim(named.language #>> '{}')), '_', '-'), '.', 1)
    from (
      select trait.value
      from track.trait
      where trait.person_id = v_person_id
        and trait.name in ('language', 'languages', 'locale')
      order by trait.name = 'locale', trait.set_at desc, trait.identity_id
      limit 1
    ) as latest
    cross join lateral jsonb_array_elements(
      case jsonb_typeof(latest.value) when 'array' then latest.value else jsonb_build_array(latest.value) end
    ) as named (language)
    where jsonb_typeof(named.language) = 'string'
      and btrim(named.language #>> '{}') <> ''
    order by 1
  );
  return v_context;
end;
$$;

comment on function recommend._context(bigint, bigint, text) is $$
@behavior -*
Returns what a list of items of a kind depends on for a person, as far as the caller may read it.
`items` are the last 500. `left_out` has also the items of `recommend.setting.kept_kinds`, such as the courses of a
page. Events that the refresh has not processed yet are included. All lists are empty for an unknown person, and for one
who has opted out of `personalization`.
$$;

grant execute on function recommend._context(bigint, bigint, text) to insights_reader, insights_learner;
