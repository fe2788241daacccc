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

/** The events of some types in their order, by type as its place in the list, from 0. */
const walkOf = (names: readonly string[], given: Given): string => `
      walk as (
        ${names.map((event, index) => `select person_id, done_at, ${index} as kind from (${events(event, given)}) as one`).join(" union all ")}
      )`;

/**
 * Three steps within any time, with an event that must not be between the first and the last: plain SQL keeps the latest
 * time of each step that no excluded event has followed. A person whose furthest attempt met one is in no row.
 */
function excluding(steps: readonly [string, string, string], excluded: string, given: Given): Question {
  const { since, until } = given;
  return {
    name: "funnel, three steps with an exclusion",
    times: 3,
    ours: `
      select step, person_count
      from analytics.funnel(
        '${JSON.stringify(steps)}', '${since}'::moment, '${until}'::moment, conversion_window => '400 days',
        exclusions => '${JSON.stringify([{ event: excluded }])}'
      )`,
    plain: `
      with ${walkOf([excluded, ...steps], given)},

      began as (
        select
          *, max(case when kind = 0 then done_at end) over earlier as excluded_at,
          max(case when kind = 1 then done_at end) over earlier as start_1
        from walk
        window earlier as (partition by person_id order by done_at, kind rows unbounded preceding)
      ),

      done as (
        select
          *, kind = 2 and start_1 is not null as did_2,
          kind = 2 and start_1 is not null and (excluded_at is null or excluded_at <= start_1) as clean_2
        from began
      ),

      went as (
        select
          *, max(case when clean_2 then done_at end) over (
            partition by person_id order by done_at, kind rows unbounded preceding
          ) as start_2
        from done
      ),

      person_walk as (
        select
          person_id,
          max(case when kind = 3 and start_2 is not null then 1 else 0 end) as did_3,
          max(case when kind = 3 and start_2 is not null and (excluded_at is null or excluded_at <= start_2) then 1 else 0 end)
            as clean_3,
          max(case when did_2 then 1 else 0 end) as did_2,
          max(start_2) as last_2, max(start_1) as last_1, max(excluded_at) as last_excluded
        from went
        group by person_id
      ),

      furthest as (
        select
          case
            when clean_3 = 1 then 3
            when did_3 = 1 then 0
            when last_2 is not null and (last_excluded is null or last_excluded <= last_2) then 2
            when did_2 = 1 then 0
            when last_1 is not null and (last_excluded is null or last_excluded <= last_1) then 1
            else 0
          end as reached
        from person_walk
      )

      ${[1, 2, 3].map((step) => `select ${step}, count(*) from furthest where reached >= ${step}`).join(" union all ")}
      order by 1`,
  };
}

/** The second of three steps can be left out; within any time. */
function optional(steps: readonly [string, string, string], given: Given): Question {
  const { since, until } = given;
  const asked = JSON.stringify(steps.map((event, index) => (index === 1 ? { event, optional: true } : event)));
  return {
    name: "funnel, optional second step",
    times: 3,
    ours: `
      select step, person_count
      from analytics.funnel(
        '${asked}', '${since}'::moment, '${until}'::moment, conversion_window => '400 days'
      )`,
    plain: `
      with ${walkOf(steps, given)},

      began as (
        select person_id, min(done_at) as start_1 from walk where kind = 0 group by 1
      ),

      ended as (
        select began.person_id, start_1, min(done_at) as start_3
        from began
        left join walk on walk.person_id = began.person_id and kind = 2 and done_at >= start_1
        group by 1, 2
      ),

      between_them as (
        select distinct ended.person_id
        from ended
        join walk on walk.person_id = ended.person_id and kind = 1 and done_at >= start_1
        where start_3 is null or done_at <= start_3
      )

      select 1, (select count(*) from ended)
      union all
      select 2, (select count(*) from between_them)
      union all
      select 3, (select count(*) from ended where start_3 is not null)
      order by 1`,
  };
}

/** Two steps, the second one with a value of a property; people by step. */
function ofProperty(steps: readonly [string, string], value: string, given: Given): Question {
  const { since, until, days = 14 } = given;
  const [from, to] = steps;
  const asked = JSON.stringify([from, { event: to, property: { name: "plan", is: value } }]);
  return {
    name: "funnel, a declared property of a step",
    prepare: "select track.declare_property('Task Submitted', 'plan')",
    ours: `
      select step, person_count
      from analytics.funnel('${asked}', '${since}'::moment, '${until}'::moment, conversion_window => '${days} days')`,
    plain: `
      with walk as (
        select person_id, done_at, 0 as kind from (${events(from, given)}) as one
        union all
        select person_id, done_at, 1 as kind from (${events(to, given)} and 'plan'::property = '${value}') as one
      ),

      done as (
        select
          *, max(case when kind = 0 then done_at end) over (
            partition by person_id order by done_at, kind rows unbounded preceding
          ) as start_1
        from walk
      )

      select 1, (select count(distinct person_id) from done where kind = 0)
      union all
      select 2, (
        select count(distinct person_id) from done where kind = 1 and done_at <= start_1 + interval '${days} days'
      )
      order by 1`,
  };
}

/** Two steps by the value that the person's first event with one has; people by value and step. */
function byProperty(steps: readonly [string, string], given: Given): Question {
  const { since, until, days = 14 } = given;
  return {
    name: "funnel, by a declared property",
    prepare: `
      select track.declare_property(name, 'plan')
      from unnest(array['${steps.join("', '")}']) as name`,
    ours: `
      select breakdown_value, step, person_count
      from analytics.funnel(
        '${JSON.stringify(steps)}', '${since}'::moment, '${until}'::moment, conversion_window => '${days} days',
        breakdown => 'property.plan', attribution => 'first_touch'
      )
      where breakdown_value is not null
      order by 1, 2`,
    plain: `
      with walk as (
        ${steps
          .map(
            (event, index) => `
        select person_id, done_at, ${index} as kind, plan
        from (${events(event, given).replace("as done_at", `as done_at, 'plan'::property as plan`)}) as one`,
          )
          .join(" union all ")}
      ),

      done as (
        select
          *, max(case when kind = 0 then done_at end) over (
            partition by person_id order by done_at, kind rows unbounded preceding
          ) as start_1
        from walk
      ),

      touched as (
        select person_id, plan
        from (
          select person_id, plan, row_number() over (partition by person_id order by done_at, plan) as place
          from walk
          where plan is not null
        ) as one
        where place = 1
      ),

      reached as (
        select
          person_id, max(case when kind = 0 then 1 else 0 end) as did_1,
          max(case when kind = 1 and done_at <= start_1 + interval '${days} days' then 1 else 0 end) as did_2
        from done
        group by 1
      )

      select plan, step, sum(case when step = 1 then did_1 else did_2 end)
      from reached
      join touched using (person_id)
      cross join (values (1), (2)) as listed (step)
      where did_1 = 1
      group by 1, 2
      order by 1, 2`,
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
    excluding(["Task Started", "Task Submitted", "Course Completed"], "Search", given),
    optional(["Course Started", "Video Playback Started", "Course Completed"], given),
    ofProperty(["Task Started", "Task Submitted"], "pro", given),
    byProperty(["Task Started", "Task Submitted"], given),
  ];
}
