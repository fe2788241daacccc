/* A definer owned by insights_reader: it reads the activity of people, for those who may read it. */
create or replace function analytics._engagement_levels(
  course text, kind text, among text, breakdown text, top_values int, smallest_group int
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
set work_mem to '64MB'
as $$
declare
  v_course_id constant bigint := analytics._item_id(coalesce(_engagement_levels.course, ''));
  -- As in Aspects.
  v_labels constant text[] := case _engagement_levels.kind
    when 'task' then '{No problems attempted yet,At least one problem attempted,All problems attempted}'
    else format('{No %1$ss viewed yet,At least one %1$s viewed,All %1$ss viewed}', _engagement_levels.kind)
  end::text[];
  v_learners bigint[];
  v_part record;
begin
  if _engagement_levels.kind is null or _engagement_levels.kind not in ('page', 'video', 'task') then
    perform common.refuse(
      'CF001', format('kind is "%s"', left(_engagement_levels.kind, 100)), 'Use page, video or task.'
    );
  end if;
  if not exists (
    select
    from track.item_ancestor as ancestor
    join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
    where ancestor.ancestor_item_id = v_course_id
  ) then
    perform common.refuse(
      'CF002',
      format('course "%s" contains no %s', left(_engagement_levels.course, 100), _engagement_levels.kind),
      coalesce(
        (
          select 'It contains items of the kinds ' || string_agg(distinct item.kind, ', ') || '.'
          from track.item_ancestor as ancestor
          join track.item on item.item_id = ancestor.item_id
          where ancestor.ancestor_item_id = v_course_id
            and ancestor.depth > 0
        ),
        'It has no structure yet: send its items, or call track.sync_items.'
      )
    );
  end if;
  v_learners := analytics._enrolled_learners(
    v_course_id, _engagement_levels.among, _engagement_levels.smallest_group, false
  );
  for v_part in
    select *
    from analytics._learner_groups(
      _engagement_levels.breakdown, _engagement_levels.top_values, _engagement_levels.smallest_group, v_learners
    )
  loop
    return query
    with learner as materialized (
      select entry.person_id from unnest(v_part.people) as entry (person_id)
    ),

    -- The section of an item is the part of the course that contains it, or the course.
    part as materialized (
      select
        item.item_id,
        coalesce(
          (
            select section.ancestor_item_id
            from track.item_ancestor as section
            where section.item_id = item.item_id
              and section.depth = ancestor.depth - 1
              and section.depth > 0
            limit 1
          ),
          v_course_id
        ) as section_id
      from track.item_ancestor as ancestor
      join track.item on item.item_id = ancestor.item_id and item.kind = _engagement_levels.kind
      where ancestor.ancestor_item_id = v_course_id
    ),

    size as (
      select part.section_id, count(*) as item_count from part group by part.section_id
    ),

    used as (
      select entry.section_id, entry.person_id, count(*) as item_count
      from (
        select distinct part.section_id, part.item_id, item_month.part::bigint * 32768 + listed.person as person_id
        from part
        join track.item_month on item_month.item_id = part.item_id
        cross join lateral unnest(item_month.people) as listed (person)
      ) as entry
      group by entry.section_id, entry.person_id
    ),

    counted as (
      select
        size.section_id,
        case
          when coalesce(used.item_count, 0) = 0 then 1
          when used.item_count < size.item_count then 2
          else 3
        end as level,
        count(*) as person_count
      from size
      cross join learner
      left join used on used.section_id = size.section_id and used.person_id = learner.person_id
      group by 1, 2
    ),

    shown as (
      select
        size.section_id, size.item_count, listed.level,
        coalesce(
          analytics._shown(counted.person_count, counted.person_count, _engagement_levels.smallest_group), 0
        )::bigint as person_count
      from size
      cross join generate_series(1, 3) as listed (level)
      left join counted on counted.section_id = size.section_id and counted.level = listed.level
    )

    select
      item.external_id, item.title, shown.item_count, v_labels[shown.level], shown.person_count,
      shown.person_count / nullif(sum(shown.person_count) over (partition by shown.section_id), 0)::float8,
      v_part.value, v_part.is_other
    from shown
    join track.item on item.item_id = shown.section_id
    order by item.external_id collate "C", shown.level;
  end loop;
end;
$$;

alter function analytics._engagement_levels(text, text, text, text, int, int)
owner to insights_reader;

comment on function analytics._engagement_levels(text, text, text, text, int, int) is $$
Computes the result of `analytics.engagement_levels`.
`smallest_group`: figures of groups of counted people (see `analytics._visible_periods` and `analytics._shown`);
null: exact figures of all people.
$$;

grant execute on function analytics._engagement_levels(text, text, text, text, int, int)
to insights_admin, insights_worker;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures about groups only. */
create or replace function analytics._engagement_levels_shown(
  course text,
  kind text,
  among text,
  breakdown text,
  top_values int
)
returns setof analytics.engagement_level
language sql
stable
parallel safe
security definer
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
set datestyle to 'ISO, MDY'
set timezone to 'UTC'
set intervalstyle to 'postgres'
set extra_float_digits to 1
set jit to off
as $$
  select *
  from analytics._engagement_levels(
    $1, $2, $3, $4, $5, (select smallest_group from analytics.setting)
  );
$$;

alter function analytics._engagement_levels_shown(text, text, text, text, int)
owner to insights_reader;

comment on function analytics._engagement_levels_shown(text, text, text, text, int) is $$
Returns the result of `analytics.engagement_levels` for analysts: figures of groups of counted people, rounded.
$$;

grant execute on function analytics._engagement_levels_shown(text, text, text, text, int)
to insights_analyst;

create or replace function analytics.engagement_levels(
  course text,
  kind text default 'page',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.engagement_level
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set client_min_messages to notice
as $$
begin
  -- An invoker: the privileges of the caller decide, and PostgreSQL checks them again in the call.
  if has_function_privilege('analytics._engagement_levels(text, text, text, text, int, int)', 'execute') then
    return query
    select *
    from analytics._engagement_levels(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values, null
    );
  else
    return query
    select *
    from analytics._engagement_levels_shown(
      engagement_levels.course, engagement_levels.kind, engagement_levels.among, engagement_levels.breakdown,
      engagement_levels.top_values
    );
  end if;
end;
$$;

comment on function analytics.engagement_levels(text, text, text, text, int) is $$
Returns how many learners of a course have viewed none, some or all pages of each of its sections.
The levels are those of Open edX Aspects: "No pages viewed yet", "At least one page viewed" (not all), "All pages
viewed"; with `kind` = `video` or `task` the same of videos, and of problems attempted. A section is a part of the
course that contains such items; items that are in no section are in the course itself. Learners are those who are
enrolled and have not dropped the course. An item counts as viewed or attempted with any event or page view of it.
The structure of the course and the enrolments are those of now. `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For admins and workers, figures are exact. Analysts see figures of counted people; a number of fewer people than
`analytics.setting.smallest_group` reads as 0, others are rounded by `analytics._shown`, and shares are computed from
these numbers. As of the last refresh of the sessions.
Errors: CF001 for another kind, CF002 for an unknown course or set (names the nearest), and a course without such
items.
$$;

grant execute on function analytics.engagement_levels(text, text, text, text, int)
to insights_analyst, insights_admin, insights_worker;
