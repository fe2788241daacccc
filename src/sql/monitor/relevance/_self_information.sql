create or replace function monitor._self_information(kind text, smallest_group int)
returns table (item_id bigint, bits float8)
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set jit to off
-- Without a floor, the parts for it are not in the plan.
set plan_cache_mode to force_custom_plan
as $$
declare
  v_items constant bigint[] := array(select item.item_id from track.item where item.kind = _self_information.kind);
  v_blocks int[];
  v_people bit(4096)[];
begin
  if _self_information.smallest_group is not null then
    select array_agg(counted.block), array_agg(counted.people) into v_blocks, v_people
    from track.person_set_blocks('counted') as counted;
  end if;

  return query
  with used as (
    select interaction.item_id, interaction.person_id
    from recommend.interaction
    where interaction.item_id = any (v_items)
      and interaction.weight > 0
      and interaction.person_id <> 0
      and _self_information.smallest_group is null

    union all

    select interaction.item_id, interaction.person_id
    from recommend.interaction
    join unnest(v_blocks, v_people) as person (block, people)
      on person.block = interaction.person_id / 4096
      and get_bit(person.people, (interaction.person_id % 4096)::int) <> 0
    where interaction.item_id = any (v_items)
      and interaction.weight > 0
      and interaction.person_id <> 0
      and _self_information.smallest_group is not null
  ),

  counted as materialized (
    select used.item_id, used.person_id, count(*) as number
    from used
    group by grouping sets ((used.item_id), (used.person_id))
  ),

  everyone as (
    select analytics.shown(count(*), count(*), _self_information.smallest_group) as people
    from counted
    where counted.person_id is not null
  )

  select
    item.item_id,
    greatest(
      0,
      ln(
        everyone.people / greatest(
          analytics.shown(counted.number, counted.number, _self_information.smallest_group),
          coalesce(_self_information.smallest_group, 1)
        )
      ) / ln(2::float8)
    )
  from track.item
  cross join everyone
  left join counted on counted.item_id = item.item_id
  where item.kind = _self_information.kind
    and everyone.people > 0;
end;
$$;

comment on function monitor._self_information(text, int) is $$
@behavior -*
Returns the self-information of each item of a kind in bits: -log2 of the share of people who used it.
Of the people who used an item of the kind, as `recommend.interaction` has them at present. An item that no person used
counts as one that one person used, with `smallest_group` as one that this number of counted people used. Zhou and
others, "Solving the apparent diversity-accuracy dilemma of recommender systems", PNAS 2010.
$$;

grant execute on function monitor._self_information(text, int) to insights_reader;
