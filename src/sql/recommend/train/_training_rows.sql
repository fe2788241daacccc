create or replace function recommend._training_rows(
  kind text,
  until timestamptz default 'infinity',
  people bigint[] default null
)
returns table (person_id bigint, item_id bigint, strength real, first_at timestamptz, last_at timestamptz)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
-- All rows are read. Before the tables have statistics, as after an import, nested loops take a minute in place of a
-- second. Those of some people are found by their keys.
set enable_nestloop to off
set plan_cache_mode to force_custom_plan
as $$
declare
  v_full_weight constant real := (select full_weight from recommend.setting);
  v_by_default constant boolean := (
    select purpose.basis <> 'consent'
    from privacy.purpose
    where purpose.purpose = 'personalization'
  );
  -- People with an item that they used before and after that time.
  v_straddling constant bigint[] := array(
    select distinct interaction.person_id
    from recommend.interaction
    where interaction.first_at < _training_rows.until
      and interaction.last_at >= _training_rows.until
      and (_training_rows.people is null or interaction.person_id = any (_training_rows.people))
  );
begin
  if _training_rows.people is not null then
    perform set_config('enable_nestloop', 'on', true);
  end if;
  return query
  with leaf as (
    select
      interaction.person_id, interaction.item_id, interaction.weight, interaction.first_at, interaction.last_at,
      interaction.completed_at, interaction.dismissed_at, interaction.dropped_at, interaction.resumed_at,
      interaction.withdrawn_at, interaction.liking, interaction.liked_at
    from recommend.interaction
    where interaction.last_at < _training_rows.until
      and (_training_rows.people is null or interaction.person_id = any (_training_rows.people))

    union all

    -- Interactions that have later events are computed from the events before that time.
    select
      before.person_id, before.item_id, before.weight, before.first_at, before.last_at,
      before.completed_at, before.dismissed_at, before.dropped_at, before.resumed_at,
      before.withdrawn_at, before.liking, before.liked_at
    from recommend._interactions_of(v_straddling, until => _training_rows.until) as before
    join recommend.interaction
      on interaction.person_id = before.person_id
      and interaction.item_id = before.item_id
      and interaction.last_at >= _training_rows.until

    union all

    -- Enrolments that the application reports count as taken.
    select
      enrolment.person_id, enrolment.item_id, v_full_weight, enrolment.enrolled_at, enrolment.enrolled_at,
      case when enrolment.status = 'completed' then enrolment.enrolled_at end,
      null,
      case when ended.is_dropped then coalesce(enrolment.ended_at, enrolment.enrolled_at) end,
      case when not ended.is_dropped then enrolment.enrolled_at end,
      null, null, null
    from track.enrolment
    cross join lateral (
      select enrolment.status = 'dropped'
        and coalesce(enrolment.ended_at, enrolment.enrolled_at) < _training_rows.until as is_dropped
    ) as ended
    where enrolment.enrolled_at < _training_rows.until
      and (_training_rows.people is null or enrolment.person_id = any (_training_rows.people))
  ),

  allowed as (
    select leaf.*
    from leaf
    join track.person_set_block as counted
      on counted.name = 'counted'
      and counted.block = leaf.person_id / 4096
      and get_bit(counted.people, (leaf.person_id % 4096)::int) <> 0
    -- With the default "allowed", the decisions that matter are opt-outs; with the default "not allowed", grants.
    where v_by_default <> (
      leaf.person_id in (
        select decision.person_id
        from privacy.latest_decisions('personalization', _training_rows.people) as decision
        where decision.granted <> v_by_default
      )
    )
  ),

  used as (
    select
      allowed.person_id,
      target.item_id,
      sum(allowed.weight::float8) as weight,
      min(allowed.first_at) as first_at,
      max(allowed.last_at) as last_at
    from allowed
    join track.item_ancestor as ancestor on ancestor.item_id = allowed.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where (_training_rows.kind is null or target.kind = _training_rows.kind)
      -- Without items that the person teaches or wrote, and all that they contain.
      and not exists (
        select
        from track.item_ancestor as container
        join track.applied_item_role as item_role on item_role.item_id = container.ancestor_item_id
        where container.item_id = allowed.item_id
          and item_role.person_id = allowed.person_id
      )
    group by allowed.person_id, target.item_id
  ),

  -- Events of the items themselves, not of parts of them. Without feedback, use alone counts.
  said as (
    select
      allowed.person_id,
      allowed.item_id,
      max(allowed.completed_at) as completed_at,
      max(allowed.dismissed_at) as dismissed_at,
      max(allowed.dropped_at) as dropped_at,
      max(allowed.resumed_at) as resumed_at,
      max(allowed.withdrawn_at) as withdrawn_at,
      max(allowed.liking) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liking,
      max(allowed.liked_at) filter (where allowed.liked_at > coalesce(allowed.withdrawn_at, '-infinity')) as liked_at
    from allowed
    join track.item using (item_id)
    where _training_rows.kind is null
      or item.kind = _training_rows.kind
    group by allowed.person_id, allowed.item_id
    having num_nonnulls(max(allowed.dismissed_at), max(allowed.dropped_at), max(allowed.liked_at)) > 0
  ),

  liked as (
    select
      used.*,
      recommend._strength(
        used.weight,
        v_full_weight,
        said.liking,
        recommend._is_rejected(
          said.dismissed_at, said.withdrawn_at, said.resumed_at, case when said.liking > 0 then said.liked_at end
        )
        or said.completed_at is null
          and recommend._is_rejected(
            said.dropped_at, null, said.resumed_at, case when said.liking > 0 then said.liked_at end
          )
      ) as strength
    from used
    left join said using (person_id, item_id)
  )

  select liked.person_id, liked.item_id, liked.strength, liked.first_at, liked.last_at
  from liked
  where liked.strength > 0;
end;
$$;

comment on function recommend._training_rows(text, timestamptz, bigint[]) is $$
@behavior -*
Returns the items of a kind, or of all kinds for null, that people like, by the same rules as `recommend._context`.
`strength` is above 0, and at most 1. Items that a person dislikes, dismissed or left before the end are not returned,
nor those that she only marked as known. `first_at` is the time at which she took the item, by which her items are in
order.
Events and enrolments from `until` on do not count. With `people`, only their rows are returned.
Only people in the set `counted` who have consented to `personalization`, or have not opted out, are included, without
what they teach or wrote.
$$;
