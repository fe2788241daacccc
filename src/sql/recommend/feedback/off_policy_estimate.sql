create or replace function recommend._off_policy(people bigint[], weights float8[], outcomes float8[])
returns recommend.policy_value
language plpgsql
immutable
parallel safe
set search_path to pg_catalog, pg_temp
as $$
declare
  v_total record;
  v_spread record;
  v_value recommend.policy_value;
begin
  select
    count(*) as slots,
    count(distinct slot.person_id) as people,
    sum(slot.weight) as weight,
    sum(slot.weight ^ 2) as squared_weight,
    sum(slot.weight * slot.outcome) as outcome
  into v_total
  from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome);

  v_value.slots := v_total.slots;
  v_value.people := v_total.people;
  v_value.mean_weight := v_total.weight / nullif(v_total.slots, 0);
  v_value.effective_sample_size := coalesce(v_total.weight ^ 2 / nullif(v_total.squared_weight, 0), 0);
  v_value.ips := v_total.outcome / nullif(v_total.slots, 0);
  v_value.snips := v_total.outcome / nullif(v_total.weight, 0);

  -- The slots of a person are not independent: the deviations are summed by person first.
  select
    sum(by_person.ips ^ 2) as ips,
    sum(by_person.snips ^ 2) as snips
  into v_spread
  from (
    select
      sum(slot.weight * slot.outcome - v_value.ips) as ips,
      sum(slot.weight * (slot.outcome - v_value.snips)) as snips
    from unnest(_off_policy.people, _off_policy.weights, _off_policy.outcomes) as slot (person_id, weight, outcome)
    group by slot.person_id
  ) as by_person;

  if v_value.people >= 2 then
    -- Without any spread, such as without an answer, the error is unknown and not 0.
    v_value.ips_standard_error := nullif(
      sqrt(v_spread.ips * v_value.people / (v_value.people - 1)) / v_value.slots, 0
    );
    v_value.snips_standard_error := nullif(
      sqrt(v_spread.snips * v_value.people / (v_value.people - 1)) / nullif(v_total.weight, 0), 0
    );
  end if;
  return v_value;
end;
$$;

comment on function recommend._off_policy(bigint[], float8[], float8[]) is $$
@behavior -*
Returns the estimates of the value of a policy from slots of another one.
One element per slot: its person, the weight (probability of the item under the policy, divided by that under which it
was drawn) and the outcome. Standard errors are robust against the dependence of the slots of a person, with the factor
n / (n - 1) for n people; null when all deviations are 0, as when no slot of the policy was answered.
Sources: D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47 (1952), 663-685;
A. Swaminathan and T. Joachims, The self-normalized estimator for counterfactual learning, NIPS 2015; A. B. Owen,
Monte Carlo theory, methods and examples (2013), chapter 9, also for the effective sample size.
$$;

create or replace function recommend._slot_history(slots recommend.impression[], kind text)
returns table (slot int, item_id bigint, strength float8, later_items int)
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
declare
  v_weights constant record := recommend._event_names();
  v_full_weight constant float8 := (select full_weight from recommend.setting);
begin
  return query
  with slot as materialized (
    select entry.ordinality::int as slot, entry.person_id, entry.listed_at
    from unnest(_slot_history.slots) with ordinality as entry
  ),

  counted as (
    select
      slot.slot, event.item_id, event_weight.event,
      event_weight.weight::float8 * least(count(*), event_weight.most_counted) as weight,
      max(event.occurred_at) as last_at
    from slot
    join track.event
      on event.person_id = slot.person_id
      and event.occurred_at < slot.listed_at
    join unnest(v_weights.event_type_ids, v_weights.events) as named (event_type_id, event)
      on named.event_type_id = coalesce(event.named_event_type_id, event.event_type_id)
    join recommend.event_weight on event_weight.event = named.event
    where event.item_id is not null
      and event_weight.weight > 0
    group by slot.slot, event.item_id, event_weight.event, event_weight.weight, event_weight.most_counted
  ),

  used as (
    select
      counted.slot, target.item_id,
      least(sum(counted.weight) / v_full_weight, 1) as strength,
      max(counted.last_at) as last_at
    from counted
    join track.item_ancestor as ancestor on ancestor.item_id = counted.item_id
    join track.item as target on target.item_id = ancestor.ancestor_item_id
    where target.kind = _slot_history.kind
    group by counted.slot, target.item_id
  )

  select
    used.slot, used.item_id, used.strength,
    (row_number() over (partition by used.slot order by used.last_at desc, used.item_id desc))::int - 1
  from used;
end;
$$;

comment on function recommend._slot_history(recommend.impression[], text) is $$
@behavior -*
Returns the items of a kind that people had used before the times of their slots, with the strengths at that time.
`slot` is the position in the list, `later_items` the number of items that were used after the item. Strengths are those
of use alone, without preferences.
$$;

create or replace function recommend._policy_choices(slots recommend.impression[], kind text, model_id bigint)
returns bigint[]
language plpgsql
stable
set search_path to pg_catalog, pg_temp
as $$
begin
  return (
    with candidate as materialized (
      select entry.ordinality::int as slot, member.item_id
      from unnest(_policy_choices.slots) with ordinality as entry
      cross join lateral unnest(entry.pool) as member (item_id)
    ),

    used as materialized (
      select history.*
      from recommend._slot_history(_policy_choices.slots, _policy_choices.kind) as history
      where _policy_choices.model_id is not null
    ),

    weight as materialized (
      select neighbours.item_id, entry.neighbour_id, part.share, part.history_decay, entry.weight
      from recommend.neighbours
      join recommend.model_part as part
        on part.model_id = neighbours.model_id
        and part.part = neighbours.part
      cross join lateral unnest(neighbours.neighbour_ids, neighbours.weights) as entry (neighbour_id, weight)
      where neighbours.model_id = _policy_choices.model_id
        and neighbours.item_id in (select used.item_id from used)
        and entry.neighbour_id in (select candidate.item_id from candidate)
    ),

    scored as (
      select
        candidate.slot, candidate.item_id,
        sum(
          weight.share::float8 * used.strength * weight.history_decay::float8 ^ used.later_items * weight.weight
        ) as score
      from candidate
      join used on used.slot = candidate.slot
      join weight on weight.item_id = used.item_id and weight.neighbour_id = candidate.item_id
      group by candidate.slot, candidate.item_id
    ),

    -- Items that the model does not rank are in the order of their popularity.
    chosen as (
      select distinct on (candidate.slot) candidate.slot, candidate.item_id
      from candidate
      left join scored on scored.slot = candidate.slot and scored.item_id = candidate.item_id
      left join recommend.ranked_list as popular
        on popular.kind = _policy_choices.kind
        and popular.list = 'popular'
        and popular.item_id = candidate.item_id
      order by candidate.slot, coalesce(scored.score, 0) desc, popular.score desc nulls last, candidate.item_id
    )

    select array_agg(chosen.item_id order by chosen.slot)
    from chosen
  );
end;
$$;

comment on function recommend._policy_choices(recommend.impression[], text, bigint) is $$
@behavior -*
Returns for each slot the item of its pool that a version of a model ranks best, from what the person had used before.
Items without a score, and all of them where `model_id` is null, are ranked by popularity. The slots have pools.
$$;

/*
 * A definer: it reads the impressions and events of all people and the weights, which no role may read, and returns
 * figures about all of them.
 */
create or replace function recommend.off_policy_estimate(
  policy text,
  outcome text default 'clicked',
  since timestamptz default (now() at time zone 'UTC' - interval '90 days') at time zone 'UTC',
  until timestamptz default now(),
  kind text default 'course'
)
returns recommend.policy_value
language plpgsql
stable
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set jit to off
as $$
declare
  v_version constant text := substring(off_policy_estimate.policy from '^version ([0-9]{1,9})$');
  v_model_id bigint;
  v_slots recommend.impression[];
  v_choices bigint[];
  v_value recommend.policy_value;
begin
  perform common.check_period(off_policy_estimate.since, off_policy_estimate.until);
  perform recommend._check(1, off_policy_estimate.kind);
  if off_policy_estimate.outcome is null or off_policy_estimate.outcome not in ('clicked', 'completed', 'liked') then
    perform common.refuse(
      'CF001',
      format('outcome is %s', coalesce('"' || left(off_policy_estimate.outcome, 100) || '"', 'null')),
      'Use clicked, completed or liked.'
    );
  end if;
  if v_version is not null then
    select model.model_id into v_model_id
    from ml.project
    join ml.model on model.project_id = project.project_id
    where project.name = 'recommend.' || off_policy_estimate.kind
      and model.version = v_version::int
      and exists (select from recommend.model_part as part where part.model_id = model.model_id);
    if not found then
      perform common.refuse(
        'CF002',
        format('there are no weights of version %s of the recommender of "%s"', v_version, off_policy_estimate.kind),
        'Versions whose weights are kept are in recommend.model_part.'
      );
    end if;
  elsif off_policy_estimate.policy is null or off_policy_estimate.policy not in ('served', 'random', 'popularity') then
    perform common.refuse(
      'CF001',
      format('policy is %s', coalesce('"' || left(off_policy_estimate.policy, 100) || '"', 'null')),
      'Use served, random, popularity or the version of a model, such as version 3.'
    );
  end if;

  v_slots := array(
    select impression
    from recommend.impression
    join track.item as named on named.item_id = impression.item_id
    join track.item on item.item_id = coalesce(named.merged_item_id, named.item_id)
    where impression.listed_at >= off_policy_estimate.since
      and impression.listed_at < off_policy_estimate.until
      and item.kind = off_policy_estimate.kind
      -- Rows that are known only because of an event are those with an answer.
      and impression.is_served
      and impression.propensity > 0
      and impression.item_id = any (impression.pool)
      and (
        off_policy_estimate.outcome <> 'completed'
        or impression.listed_at < now() - (select attribution_period from recommend.setting)
      )
    order by impression.listed_at, impression.person_id, impression.serving_key
  );
  if off_policy_estimate.policy not in ('served', 'random') then
    v_choices := recommend._policy_choices(v_slots, off_policy_estimate.kind, v_model_id);
  end if;

  select estimated.* into v_value
  from (
    select
      coalesce(array_agg(slot.person_id order by slot.ordinality), '{}') as people,
      coalesce(
        array_agg(
          case off_policy_estimate.policy
            when 'served' then 1
            when 'random' then 1.0 / cardinality(slot.pool) / slot.propensity
            else (v_choices[slot.ordinality] = slot.item_id)::int / slot.propensity
          end
          order by slot.ordinality
        ),
        '{}'
      ) as weights,
      coalesce(
        array_agg(
          case off_policy_estimate.outcome
            when 'clicked' then slot.clicked_at is not null
            when 'completed' then slot.completed_at is not null
            else coalesce(slot.liking > 0, false)
          end::int::float8
          order by slot.ordinality
        ),
        '{}'
      ) as outcomes
    from unnest(v_slots) with ordinality as slot
  ) as slots
  cross join lateral recommend._off_policy(slots.people, slots.weights, slots.outcomes) as estimated;
  v_value.policy := off_policy_estimate.policy;
  v_value.outcome := off_policy_estimate.outcome;
  return v_value;
end;
$$;

comment on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text) is $$
Estimates how often people would answer if another policy had filled the explored slots.
`policy`: `popularity`, `version <n>` (the item of the pool that this version of the model ranks best, from what the
person had used until then), `random` (each item of the pool with the same probability) or `served` (what was shown).
`outcome`: `clicked`, `completed` (within `recommend.setting.attribution_period`; younger slots are left out) or
`liked`. Only slots with a logged probability count (`recommend.setting.explored_slots`), of lists that `serve_me` and
`serve_person` recorded; the item is one of the pool of the slot. Compare estimates by their standard errors, and see
`mean_weight` and `effective_sample_size`. Below some 30 answers to items of the policy, an interval of two standard
errors contains the value in less than 95 % of cases (in 86 % with 5). Popularity is that of today, and a version that
was trained after the slots learned from their answers: for a version, give the time of its training as `since`.
Errors: CF001 for an unknown `policy` or `outcome` or an invalid period, CF002 for a version without weights and a kind
that no item has.
$$;

grant execute on function recommend.off_policy_estimate(text, text, timestamptz, timestamptz, text)
to insights_admin, insights_worker;
