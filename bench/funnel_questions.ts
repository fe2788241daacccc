/* Questions about funnels, of bench/analytics.ts. */
import { DAY, date, type Question } from "./questions.ts";

interface Given {
  since: string;
  until: string;
  days?: number;
  among?: string;
  item?: string;
  times?: number;
  aim?: number;
}

const type = (event: string): string => `(select event_type_id from track.event_type where name = '${event}')`;

const events = (event: string, { since, until, among, item }: Given): string => `
  select person_id, occurred_at as done_at
  from track.event
  join person using (person_id)
  where event_type_id = ${type(event)}
    and occurred_at >= '${since}'::moment
    and occurred_at < '${until}'::moment
    and ${among === undefined ? "not is_excluded" : "is_counted and not is_excluded"}
    ${
      item === undefined
        ? ""
        : `and item_id in (
      select item_ancestor.item_id
      from track.item_ancestor
      join track.item on item.item_id = ancestor_item_id
      where external_id = '${item}'
    )`
    }`;

/**
 * Different events in order: people by step, and the median time of those who did the last one. Plain SQL with window
 * functions: the start of the latest attempt that has reached each step. DuckDB with joins to the latest row before.
 */
function ordered(name: string, steps: readonly string[], given: Given): Question {
  const { since, until, days = 14, among, item, times = 1, aim = 50 } = given;
  const last = steps.length;
  const rows = steps.map((_, index) => index + 1);
  return {
    name: `funnel, ${name}`,
    times,
    aim,
    ours: `
      select step, person_count, case when step = ${last} then seconds(median_total_time) end
      from analytics.funnel(
        '${JSON.stringify(steps)}', '${since}'::moment, '${until}'::moment, conversion_window => '${days} days'
        ${among === undefined ? "" : `, among => '${among}'`}
        ${item === undefined ? "" : `, item => '${item}'`}
      )`,
    plain: `
      with happened as (
        ${steps.map((event, index) => `select person_id, done_at, ${index + 1} as step from (${events(event, given)}) as one`).join(" union all ")}
      ),

      start_1 as (
        select *, max(case when step = 1 then done_at end) over later as start_1
        from happened
        window later as (partition by person_id order by done_at, step rows unbounded preceding)
      )${rows
        .slice(1)
        .map(
          (step) => `,

      start_${step} as (
        select
          *,
          max(case when step = ${step} and done_at <= start_${step - 1} + interval '${days} days' then start_${step - 1} end) over later
            as start_${step}
        from start_${step - 1}
        window later as (partition by person_id order by done_at, step rows unbounded preceding)
      )`,
        )
        .join("")},

      reached as (
        select
          person_id, done_at, step, start_${last},
          ${rows.map((step) => `step = ${step} and done_at <= start_${Math.max(1, step - 1)} + interval '${days} days' as did_${step}`).join(", ")}
        from start_${last}
      ),

      converted as (
        select person_id, min(done_at - start_${last}) as took
        from (
          select *, row_number() over (partition by person_id order by done_at) as position
          from reached
          where did_${last}
        ) as one
        where position = 1
        group by 1
      )

      ${rows
        .map(
          (step) => `
      select
        ${step}, (select count(distinct person_id) from reached where did_${step}),
        ${step === last ? "(select percentile_cont(0.5) within group (order by extract(epoch from took)::float8) from converted)" : "cast(null as float8)"}`,
        )
        .join(" union all ")}
      order by 1`,
    duck: `
      with did_1 as materialized (select person_id, done_at, done_at as start from (${events(steps[0] as string, given)}))${rows
        .slice(1)
        .map(
          (step) => `,

      did_${step} as materialized (
        select later.person_id, later.done_at, earlier.start
        from (${events(steps[step - 1] as string, given)}) as later
        asof join did_${step - 1} as earlier on earlier.person_id = later.person_id and later.done_at >= earlier.done_at
        where later.done_at <= earlier.start + interval '${days} days'
      )`,
        )
        .join("")}

      ${rows
        .map(
          (step) => `
      select
        ${step}, (select count(distinct person_id) from did_${step}),
        ${
          step === last
            ? `(
          select quantile_cont(epoch(took), 0.5)
          from (select min(done_at) - arg_min(start, done_at) as took from did_${last} group by person_id)
        )`
            : "cast(null as float8)"
        }`,
        )
        .join(" union all ")}
      order by 1`,
  };
}

/** Each step is the next event that is not automatic. */
function strict(steps: readonly string[], { since, until, days = 14, times = 1 }: Given): Question {
  const rows = steps.map((_, index) => index + 1);
  return {
    name: `funnel, strict, ${steps.length} steps`,
    times,
    ours: `
      select step, person_count
      from analytics.funnel(
        '${JSON.stringify(steps)}', '${since}'::moment, '${until}'::moment, 'strict', conversion_window => '${days} days'
      )`,
    plain: `
      with walk as (
        select
          person_id, occurred_at as at_1, event_type_id as type_1
          ${rows
            .slice(1)
            .map(
              (step) => `,
          lead(event_type_id, ${step - 1}) over later as type_${step}, lead(occurred_at, ${step - 1}) over later as at_${step}`,
            )
            .join("")}
        from track.event
        join track.event_type using (event_type_id)
        join person using (person_id)
        where not is_automatic
          and not is_excluded
          and person_id <> 0
          and occurred_at >= '${since}'::moment
          and occurred_at < '${until}'::moment
        window later as (partition by person_id order by occurred_at, event_type_id)
      )

      ${rows
        .map(
          (step) => `
      select ${step}, count(distinct person_id)
      from walk
      where ${rows
        .slice(0, step)
        .map((each) => `type_${each} = ${type(steps[each - 1] as string)}`)
        .join(" and ")}
        and at_${step} <= at_1 + interval '${days} days'`,
        )
        .join(" union all ")}
      order by 1`,
  };
}

/** Any n of the steps within the window. */
function unordered(steps: readonly string[], given: Given): Question {
  const { since, until, days = 14, times = 3 } = given;
  const rows = steps.map((_, index) => index + 1);
  return {
    name: `funnel, unordered, ${steps.length} steps`,
    times,
    ours: `
      select step, person_count
      from analytics.funnel(
        '${JSON.stringify(steps)}', '${since}'::moment, '${until}'::moment, 'unordered',
        conversion_window => '${days} days'
      )`,
    plain: `
      with happened as (
        ${steps.map((event, index) => `select person_id, done_at, ${index + 1} as step from (${events(event, given)}) as one`).join(" union all ")}
      ),

      reached as (
        select person_id, max(${rows.map((step) => `did_${step}`).join(" + ")}) as steps
        from (
          select
            person_id,
            ${rows.map((step) => `max(case when step = ${step} then 1 else 0 end) over later as did_${step}`).join(", ")}
          from happened
          window later as (
            partition by person_id order by done_at
            range between current row and interval '${days} days' following
          )
        ) as one
        group by person_id
      )

      ${rows.map((step) => `select ${step}, count(*) from reached where steps >= ${step}`).join(" union all ")}
      order by 1`,
  };
}

export function funnelQuestions(until: number): Question[] {
  const given = { since: date(until - 364 * DAY), until: date(until) };
  const three = ["Task Started", "Task Submitted", "Course Completed"];
  return [
    ordered("three steps", three, given),
    ordered("three steps, 90 days", three, { ...given, since: date(until - 90 * DAY) }),
    ordered("page view first", ["Page Viewed", "Task Submitted", "Course Completed"], given),
    ordered("five steps", ["Course Started", "Page Viewed", "Task Started", "Task Submitted", "Course Completed"], {
      ...given,
      times: 1.2,
    }),
    ordered("of a set of people", three, { ...given, among: "counted", times: 1.2 }),
    strict(["Task Started", "Task Submitted"], given),
    strict(["Page Viewed", "Task Started", "Task Submitted"], given),
    unordered(three, given),
    ordered("in a course", three, { ...given, item: "course-7", times: 3 }),
  ];
}
