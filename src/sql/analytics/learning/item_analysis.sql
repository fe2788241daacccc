create or replace function analytics._item_analysis(
  learners bigint[],
  items bigint[],
  measure text,
  attempt text,
  smallest_group int,
  breakdown_value text,
  is_other boolean
)
returns setof analytics.analysed_item
language plpgsql
stable
parallel safe
set search_path to pg_catalog, pg_temp
set work_mem to '64MB'
as $$
begin
  return query
  with response as materialized (
    select
      taken.person_id, taken.item_id, count(*) as attempt_count,
      case _item_analysis.attempt
        when 'first' then (array_agg(taken.score order by taken.attempt))[1]
        when 'last' then (array_agg(taken.score order by taken.attempt desc))[1]
        else max(taken.score)
      end as score
    from analytics._attempts(_item_analysis.learners, _item_analysis.items, _item_analysis.measure) as taken
    group by taken.person_id, taken.item_id
  ),

  person as materialized (
    select
      totalled.person_id, totalled.score, totalled.item_count,
      rank() over (order by totalled.mean desc) - 1 as above,
      rank() over (order by totalled.mean) - 1 as below,
      count(*) over (partition by totalled.mean) as tied,
      0.27 * count(*) over () as group_size
    from (
      select
        response.person_id, sum(response.score) as score, count(*) as item_count, avg(response.score) as mean
      from response
      group by response.person_id
    ) as totalled
  ),

  -- Of people with the same total at the edge of a group, each counts in part: the order of equals is not a result.
  placed as (
    select
      person.person_id, person.score, person.item_count,
      least(greatest((person.group_size - person.above) / person.tied, 0), 1) as upper_weight,
      least(greatest((person.group_size - person.below) / person.tied, 0), 1) as lower_weight
    from person
  ),

  analysed as (
    select
      response.item_id,
      count(*) as person_count,
      sum(response.attempt_count)::float8 as attempt_count,
      avg(response.score)::float8 as difficulty,
      corr(
        response.score::float8, ((placed.score - response.score) / nullif(placed.item_count - 1, 0))::float8
      ) as discrimination,
      (
        sum(placed.upper_weight * response.score) / nullif(sum(placed.upper_weight), 0)
        - sum(placed.lower_weight * response.score) / nullif(sum(placed.lower_weight), 0)
      )::float8 as discrimination_index
    from response
    join placed on placed.person_id = response.person_id
    group by response.item_id
  ),

  shown as (
    select
      item.external_id, item.kind, item.title,
      analytics._shown(analysed.person_count, analysed.person_count, _item_analysis.smallest_group)::bigint
        as person_count,
      analytics._shown(
        analysed.attempt_count, analysed.person_count, _item_analysis.smallest_group
      )::bigint as attempt_count,
      -- As precise as the mean of a figure of 1 per person.
      analytics._shown_mean(analysed.difficulty, analysed.person_count, _item_analysis.smallest_group, 1)
        as difficulty,
      analytics._shown_mean(analysed.discrimination, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination,
      analytics._shown_mean(analysed.discrimination_index, analysed.person_count, _item_analysis.smallest_group, 1)
        as discrimination_index
    from analysed
    join track.item on item.item_id = analysed.item_id
  )

  select shown.*, _item_analysis.breakdown_value, _item_analysis.is_other
  from shown
  where shown.person_count > 0
  order by shown.discrimination nulls last, shown.difficulty nulls last, shown.external_id collate "C";
end;
$$;

comment on function analytics._item_analysis(bigint[], bigint[], text, text, int, text, boolean) is $$
Computes the result of `analytics.item_analysis` for people and items, with the privileges of the caller.
`smallest_group`: see `analytics._shown` and `analytics._shown_mean`; null: exact figures.
$$;

grant execute on function analytics._item_analysis(
  bigint[], bigint[], text, text, int, text, boolean
) to insights_reader;

/* A definer owned by insights_reader: it reads the activity of people, and returns figures that its caller may see. */
create or replace function analytics.item_analysis(
  course text,
  item text default null,
  measure text default 'answers',
  attempt text default 'first',
  among text default null,
  breakdown text default null,
  top_values int default 10
)
returns setof analytics.analysed_item
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
as $$
declare
  v_visible record;
  v_part record;
  v_items bigint[];
begin
  if item_analysis.measure is null or item_analysis.measure not in ('answers', 'scores') then
    perform common.refuse(
      'CF001', format('measure is "%s"', left(item_analysis.measure, 100)), 'Use answers or scores.'
    );
  end if;
  if item_analysis.attempt is null or item_analysis.attempt not in ('first', 'last', 'best') then
    perform common.refuse(
      'CF001', format('attempt is "%s"', left(item_analysis.attempt, 100)), 'Use first, last or best.'
    );
  end if;
  v_visible := analytics._visible_learners(
    coalesce(item_analysis.course, ''), item_analysis.among, item_analysis.breakdown
  );
  v_items := analytics._items_within(v_visible.course_id, item_analysis.item);
  for v_part in
    select *
    from analytics._learner_groups(
      item_analysis.breakdown, item_analysis.top_values, v_visible.smallest_group, v_visible.learners
    )
  loop
    return query
    select *
    from analytics._item_analysis(
      v_part.people, v_items, item_analysis.measure, item_analysis.attempt, v_visible.smallest_group,
      v_part.value, v_part.is_other
    );
  end loop;
end;
$$;

alter function analytics.item_analysis(text, text, text, text, text, text, int) owner to insights_reader;

comment on function analytics.item_analysis(text, text, text, text, text, text, int) is $$
Returns how difficult the questions or tasks of a course are, and how well they separate good from weak learners.
This is classical item analysis (R. L. Ebel and D. A. Frisbie, Essentials of Educational Measurement, 1991). `measure`:
`answers` analyses `Question Answered` (`correct`), `scores` tasks: the score of a `Task Submitted`, or the latest one
that `Task Completed`, `Task Failed`, `Task Graded` or `Grade Changed` gave until the next submission. `item`: those
within an item of the course, such as one quiz, of which the total is meant then. `attempt`: the `first`, `last` or
`best` score of each learner. `difficulty` is the mean score, for answers the proportion correct. `discrimination` is
the correlation with the mean score on the other items (corrected item-total correlation, for answers the point-biserial
one); `discrimination_index` is the mean score of the 27 % of learners with the highest mean over all items, less that
of the lowest 27 % (T. L. Kelley 1939), in which learners with equal means at the edge of a group count in part. Items
that a learner has not answered are left out of her mean. Learners are people who are enrolled in the course, also those
who have dropped it; `among`: people of these sets now.
`breakdown`: `set.<family>` or `trait.<name>`, as of now: the result for the people of each value, of at most
`top_values`; for analysts, values of too few people are in the rest (`analytics._people_groups`).
For administrators and workers, figures are exact; for instructors too, in the courses that they teach now, without
people who have opted out of the purpose `analytics`. Analysts see figures of counted people: items with fewer people
than `analytics.setting.smallest_group` are left out, means are rounded to that number per person, and null for fewer
than 4.5 times as many people.
Errors: CF001 for another measure or attempt; CF002 for an unknown course, item or set (names the nearest), an item
that is not in the course, and a course that the instructor does not teach; CF005 for `among` or `breakdown`
given by an instructor.
$$;

grant execute on function analytics.item_analysis(text, text, text, text, text, text, int)
to insights_instructor, insights_analyst, insights_admin, insights_worker;
