create or replace function recommend._explain(
  context recommend.person_context,
  kind text,
  actions text[],
  model_id bigint,
  model_version int,
  fewest_people int,
  items bigint[],
  bases text[],
  propensities float8[],
  pool bigint[],
  first_rank int,
  next_page text,
  arm recommend.arm
)
returns setof recommend.recommendation
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
set plan_cache_mode to force_generic_plan
as $$
declare
  v_most_reasons constant int := (select most_reasons from recommend.setting);
  v_secret constant recommend.secret := (select secret from recommend.secret);
begin
  return query
  with chosen as materialized (
    select
      listed.item_id, listed.basis, listed.propensity, listed.place::int, item.external_id, item.title,
      case when listed.propensity is null then listed.basis else 'explored' end as shown_basis
    from unnest(_explain.items, _explain.bases, _explain.propensities) with ordinality
      as listed (item_id, basis, propensity, place)
    cross join lateral (
      -- "offset 0" makes the planner do one index lookup per item instead of reading all items.
      select known.external_id, known.title
      from track.item as known
      where known.item_id = listed.item_id
      offset 0
    ) as item
  ),

  contribution as materialized (
    select
      found.target_id,
      found.item_id,
      found.kind,
      found.contribution,
      row_number() over (
        partition by found.target_id
        order by abs(found.contribution) desc, found.kind, found.item_id
      ) as place
    from (
      select by_model.*, 'item' as kind
      from recommend._contributions(
        _explain.model_id, (_explain.context).items, (_explain.context).strengths, _explain.fewest_people,
        -- The model may lower an item of another tier by a little: this is not in its score.
        array(
          select chosen.item_id
          from chosen
          where chosen.basis not in ('content', 'segment', 'popularity', 'trending', 'newest')
        )
      ) as by_model

      union all

      select by_content.*, 'content'
      from recommend._content_contributions(
        (_explain.context).items, (_explain.context).strengths,
        array(select chosen.item_id from chosen where chosen.basis = 'content')
      ) as by_content
      where 'content' = any (_explain.bases)
        and by_content.contribution <> 0
    ) as found
  ),

  reason as (
    select
      contribution.target_id as item_id,
      0 as part,
      contribution.place,
      row(contribution.kind, named.external_id, named.title, contribution.contribution)::recommend.reason as reason
    from contribution
    cross join lateral (
      select known.external_id, known.title
      from track.item as known
      where known.item_id = contribution.item_id
      offset 0
    ) as named
    where contribution.place <= v_most_reasons

    union all

    select
      contribution.target_id,
      1,
      0,
      row('others', null, format('%s more', count(*)), sum(contribution.contribution))::recommend.reason
    from contribution
    where contribution.place > v_most_reasons
    group by contribution.target_id

    union all

    select
      chosen.item_id,
      2,
      0,
      row(
        chosen.basis,
        null,
        case chosen.basis
          when 'segment' then 'Popular with learners like you'
          when 'popularity' then 'Popular with all learners'
          when 'trending' then 'Used more than expected this week'
          when 'next' then 'Next in the course that was used last'
          else 'New'
        end,
        coalesce(listed.score, 0)
      )::recommend.reason
    from chosen
    left join lateral (
      select max(ranked_list.score) as score
      from recommend.ranked_list
      where ranked_list.kind = _explain.kind
        and ranked_list.item_id = chosen.item_id
        and ranked_list.list = any (
          case chosen.basis
            when 'popularity' then '{popular}'
            when 'trending' then '{trending}'
            when 'segment' then (_explain.context).person_sets
          end
        )
    ) as listed on true
    where chosen.basis in ('segment', 'popularity', 'trending', 'newest', 'next')

    union all

    select
      applied.item_id,
      3,
      row_number() over (order by applied.rule),
      row(
        'rule',
        null,
        -- The name of a rule may tell why a set of people has it. In a subquery, which is executed once, if at all.
        case when (select track.reads_all_people()) then applied.rule else 'Selected by the platform' end,
        applied.amount
      )::recommend.reason
    from (
      select boost.item_id, boost.rule, boost.amount
      from recommend._boosts(_explain.context, _explain.kind, _explain.items) as boost
      where 'boost' = any (_explain.actions)

      union all

      select pin.item_id, pin.rule, 0
      from recommend._pins(_explain.context, _explain.kind) as pin
      join chosen on chosen.item_id = pin.item_id
      where 'pinned' = any (_explain.bases)
        and chosen.basis = 'pinned'
    ) as applied
  ),

  explained as (
    select
      reason.item_id,
      array_agg(reason.reason order by reason.part, reason.place) as reasons,
      -- In the order of the reasons, so that the score is exactly their sum.
      sum((reason.reason).contribution order by reason.part, reason.place) as score
    from reason
    group by reason.item_id
  )

  select
    _explain.first_rank + chosen.place - 1,
    chosen.item_id,
    chosen.external_id,
    chosen.title,
    coalesce(explained.score, 0),
    coalesce(explained.reasons, '{}'),
    chosen.shown_basis,
    case when chosen.basis = 'model' then _explain.model_version end,
    recommend._serving_id(
      v_secret,
      case when chosen.basis = 'model' then _explain.model_id end,
      chosen.item_id,
      _explain.first_rank + chosen.place - 1,
      chosen.propensity,
      now(),
      (_explain.context).identity_id,
      chosen.shown_basis,
      case when chosen.propensity is not null then _explain.pool end,
      (_explain.arm).experiment_id,
      (_explain.arm).variation
    ),
    chosen.propensity,
    case when chosen.place = cardinality(_explain.items) then _explain.next_page end
  from chosen
  left join explained using (item_id)
  order by chosen.place;
end;
$$;

comment on function recommend._explain(
  recommend.person_context, text, text[], bigint, int, int, bigint[], text[], float8[], bigint[], int, text,
  recommend.arm
) is $$
@behavior -*
Returns the rows of a list from its items and what each is based on: names, reasons, score and signature.
The score is the sum of the contributions, which are multiples of 2^-40 of moderate size, so that it is exact.
$$;
