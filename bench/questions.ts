/* Questions of bench/analytics.ts: to the functions, and to plain SQL and DuckDB over the events. */
import { courseQuestions } from "./course_questions.ts";
import { funnelQuestions } from "./funnel_questions.ts";
import { pathQuestions } from "./path_questions.ts";

/**
 * A question, as it is asked of each. `'2026-01-31'::moment` is a time, and `'plan'::property` a property of an event, in
 * the dialect of each.
 */
export interface Question {
  name: string;
  ours: string;
  /** Over the events: the same text for plain SQL and DuckDB, whose tables have the same names. */
  plain: string;
  /** A form that DuckDB answers faster. */
  duck?: string;
  /** A statement before the question, whose changes are refreshed. */
  prepare?: string;
  /** The largest ratio to the time of DuckDB; 1 when not given. */
  times?: number;
  /** Milliseconds; 50 when not given. */
  aim?: number;
}

export const DAY = 86_400_000;
export const date = (time: number): string => new Date(time).toISOString().slice(0, 10);
const month = (time: number, back: number): string => {
  const day = new Date(time);
  return date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() - back));
};

export function popularItems(
  name: string,
  period: readonly [since: string, until: string],
  {
    measure = "people",
    halfLife,
    kind = "course",
  }: { measure?: "people" | "events" | "engaged"; halfLife?: number; kind?: "course" | null } = {},
): Question {
  const [since, until] = period;
  const weight =
    halfLife === undefined
      ? "1"
      : `pow(0.5::float8, (cast('${until}' as date) - cast(happened_at as date)) / ${halfLife}::float8)`;
  const scores = {
    people: "sum(weight)",
    events: "sum(decayed_count)",
    engaged: "sum(decayed_engaged)",
  };
  return {
    name: `popular_items, ${name}`,
    times: kind === null ? 3 : 1,
    ours: `
      select rank, item, title, kind, event_count, person_count, seconds(engaged), score
      from analytics.popular_items(
        ${kind === null ? "null" : `'${kind}'`}, '${since}'::moment, '${until}'::moment,
        measure => '${measure}', half_life => ${halfLife === undefined ? "null" : `'${halfLife} days'`}
      )`,
    plain: `
      with happened as (
        select person_id, item_id, occurred_at as happened_at, 1 as event_count, 0::float8 as engaged
        from track.event
        where occurred_at >= '${since}'::moment and occurred_at < '${until}'::moment
        union all
        select person_id, item_id, started_at, 0, seconds(engaged)
        from track.page_view
        where started_at >= '${since}'::moment and started_at < '${until}'::moment
      ),

      by_person as (
        select
          ${kind === null ? "item_id" : "ancestor_item_id as item_id"}, person_id,
          sum(event_count) as event_count, sum(engaged) as engaged, max(${weight}) as weight,
          sum(event_count * ${weight}) as decayed_count, sum(engaged * ${weight}) as decayed_engaged
        from happened
        ${
          kind === null
            ? "where item_id is not null"
            : `join (
          select item_ancestor.item_id, ancestor_item_id
          from track.item_ancestor
          join track.item on item.item_id = ancestor_item_id and item.kind = '${kind}'
        ) as ancestor using (item_id)`
        }
        group by 1, 2
      ),

      by_item as (
        select
          item_id, cast(sum(event_count) as bigint) as event_count, count(*) as person_count, sum(engaged) as engaged,
          round(cast(${scores[measure]} as numeric(30, 12)), 9)::float8 as score
        from by_person
        join person using (person_id)
        where is_counted
        group by 1
      )

      select
        row_number() over (order by score desc, event_count desc, external_id), external_id, title, kind, event_count,
        person_count, engaged, score
      from by_item
      join track.item using (item_id)
      order by score desc, event_count desc, external_id
      limit 10`,
  };
}

export function trend(event: string, bucket: "day" | "week" | "month", since: string, until: string): Question {
  return {
    name: `trend, ${event} by ${bucket} of a year`,
    ours: `
      select extract(epoch from bucket_start)::float8, event_count, person_count, running_average, slope
      from analytics.trend('${event}', '${bucket}', '${since}'::moment, '${until}'::moment)`,
    plain: `
      with counted as (
        select
          date_trunc('${bucket}', occurred_at) as bucket_start, count(*) as event_count,
          count(distinct person_id) as person_count
        from track.event
        join person using (person_id)
        where event_type_id = (select event_type_id from track.event_type where name = '${event}')
          and occurred_at >= '${since}'::moment
          and occurred_at < '${until}'::moment
          and not is_excluded
        group by 1
      ),

      filled as (
        select
          bucket_start, row_number() over (order by bucket_start) as position,
          coalesce(event_count, 0) as event_count, coalesce(person_count, 0) as person_count
        from (
          select * from generate_series(
            '${since}'::moment, '${until}'::moment - interval '1 ${bucket}', interval '1 ${bucket}'
          ) as bucket (bucket_start)
        ) as bucket
        left join counted using (bucket_start)
      )

      select
        extract(epoch from bucket_start)::float8, event_count, person_count,
        avg(event_count) over (order by position rows 6 preceding)::float8,
        nullif(
          regr_slope(event_count::float8, position::float8) over (order by position rows 6 preceding), 'nan'::float8
        )
      from filled
      order by position`,
  };
}

/** The people who did anything that is not automatic, by day or week. */
const active = (bucket: "day" | "week", since: string, until: string): string => `
      active as (
        select distinct date_trunc('${bucket}', occurred_at) as bucket_start, person_id
        from track.event
        join track.event_type using (event_type_id)
        join person using (person_id)
        where occurred_at >= '${since}'::moment
          and occurred_at < '${until}'::moment
          and not is_automatic
          and not is_excluded
          and person_id <> 0
      )`;

function activePeople(since: string, until: string): Question {
  return {
    name: "active_people, DAU, WAU and MAU of a year",
    aim: 100,
    ours: `
      select extract(epoch from bucket_start)::float8, window_days, person_count
      from analytics.active_people(since => '${since}'::moment, until => '${until}'::moment)
      order by 1, 2`,
    plain: `
      with ${active("day", `${Number(since.slice(0, 4)) - 1}${since.slice(4)}`, until)}

      select extract(epoch from day)::float8, days, count(distinct person_id)
      from generate_series(
        '${since}'::moment, '${until}'::moment - interval '1 day', interval '1 day'
      ) as listed (day)
      cross join (values (1), (7), (30)) as ranges (days)
      join active on bucket_start <= day and bucket_start > day - days * interval '1 day'
      group by 1, 2
      order by 1, 2`,
  };
}

function lifecycle(since: string, until: string): Question {
  return {
    name: "lifecycle by week of a year",
    ours: `
      select extract(epoch from bucket_start)::float8, new_people, returning_people, resurrecting_people, dormant_people
      from analytics.lifecycle(bucket => 'week', since => '${since}'::moment, until => '${until}'::moment)
      order by 1`,
    plain: `
      with ${active("week", "1970-01-05", until)},

      began as (
        select person_id, min(bucket_start) as bucket_start from active group by 1
      ),

      compared as (
        select coalesce(this.bucket_start, former.bucket_start + interval '7 days') as bucket_start,
          this.person_id is not null as is_active, former.person_id is not null as was_active,
          began.person_id is not null as is_new
        from active as this
        full join active as former
          on former.person_id = this.person_id and former.bucket_start + interval '7 days' = this.bucket_start
        left join began on began.person_id = this.person_id and began.bucket_start = this.bucket_start
      )

      select
        extract(epoch from bucket_start)::float8, count(*) filter (where is_active and is_new),
        count(*) filter (where is_active and was_active),
        count(*) filter (where is_active and not was_active and not is_new),
        count(*) filter (where was_active and not is_active)
      from compared
      where bucket_start >= '${since}'::moment and bucket_start < '${until}'::moment
      group by 1
      order by 1`,
  };
}

function retention(since: string, until: string): Question {
  return {
    name: "retention by week of a year",
    ours: `
      select extract(epoch from cohort_start)::float8, period, cohort_size, person_count
      from analytics.retention(since => '${since}'::moment, until => '${until}'::moment, periods => 51)
      where cohort_start is not null
        and period_end <= '${until}'::moment
        and person_count > 0
      order by 1, 2`,
    plain: `
      with ${active("week", since, until)},

      cell as (
        select this.bucket_start, later.bucket_start as later_start, count(*) as person_count
        from active as this
        join active as later on later.person_id = this.person_id and later.bucket_start >= this.bucket_start
        group by 1, 2
      )

      select
        extract(epoch from cell.bucket_start)::float8,
        cast(round(extract(epoch from cell.later_start - cell.bucket_start) / 604800) as int), whole.person_count,
        cell.person_count
      from cell
      join cell as whole on whole.bucket_start = cell.bucket_start and whole.later_start = cell.bucket_start
      order by 1, 2`,
  };
}

function stickiness(since: string, until: string): Question {
  return {
    name: "stickiness by day of 28 days",
    ours: `
      select bucket_count, person_count
      from analytics.stickiness(since => '${since}'::moment, until => '${until}'::moment)
      where person_count > 0
      order by 1`,
    plain: `
      with ${active("day", since, until)}

      select bucket_count, count(*)
      from (select person_id, count(*) as bucket_count from active group by 1) as by_person
      group by 1
      order by 1`,
  };
}

function featureUsage(since: string, until: string): Question {
  return {
    name: "feature_usage, 28 days",
    ours: `
      select event, event_count, person_count, days_per_person, new_person_count
      from analytics.feature_usage(since => '${since}'::moment, until => '${until}'::moment)
      where event_count > 0
      order by 1`,
    plain: `
      with used as (
        select event_type_id, person_id, occurred_at
        from track.event
        join person using (person_id)
        where occurred_at < '${until}'::moment
          and not is_excluded
      ),

      by_person as (
        select
          event_type_id, person_id, count(*) as event_count, count(distinct date_trunc('day', occurred_at)) as day_count
        from used
        where occurred_at >= '${since}'::moment
        group by 1, 2
      ),

      began as (
        select event_type_id, count(*) as person_count
        from (select event_type_id, person_id from used group by 1, 2 having min(occurred_at) >= '${since}'::moment) as new
        where person_id <> 0
        group by 1
      )

      select
        name, cast(sum(event_count) as bigint), count(nullif(person_id, 0)),
        sum(day_count) / count(nullif(person_id, 0))::float8, coalesce(max(began.person_count), 0)
      from by_person
      join track.event_type using (event_type_id)
      left join began using (event_type_id)
      where not is_automatic
        and not is_heartbeat
      group by name
      order by name`,
  };
}

function trendingItems(kind: "course" | null, since: string, until: string): Question {
  return {
    name: `trending_items, ${kind === null ? "single items" : "courses"}, 7 days`,
    times: kind === null ? 3 : 1,
    ours: `
      select rank, item, measured, expected, score
      from analytics.trending_items(${kind === null ? "null" : `'${kind}'`}, '${since}'::moment, '${until}'::moment)`,
    plain: `
      with happened as (
        select person_id, item_id, occurred_at as happened_at from track.event
        union all
        select person_id, item_id, started_at from track.page_view
      ),

      used as (
        select
          ${kind === null ? "item_id" : "ancestor_item_id as item_id"}, person_id, cast(happened_at as date) as day
        from happened
        join person using (person_id)
        ${
          kind === null
            ? ""
            : `join (
          select item_ancestor.item_id, ancestor_item_id
          from track.item_ancestor
          join track.item on item.item_id = ancestor_item_id and item.kind = '${kind}'
        ) as ancestor using (item_id)`
        }
        where is_counted
          and item_id is not null
          and happened_at < '${until}'::moment
        group by 1, 2, 3
      ),

      by_period as (
        select
          item_id, cast(floor((cast('${until}' as date) - 1 - day) / 7.0) as int) as period,
          cast(count(*) as float8) as measured
        from used
        group by 1, 2
      ),

      earlier as (
        select
          period, sum(measured) as total, pow(0.5::float8, period * 7 / 28.0::float8) * sum(measured) as weight,
          (select sum(measured) from by_period where period = 0) as recent_total
        from by_period
        where period between 1 and 16
        group by 1
      ),

      compared as (
        select
          recent.item_id, recent.measured, weight, coalesce(own.measured, 0) / total * recent_total as scaled
        from by_period as recent
        cross join earlier
        left join by_period as own on own.item_id = recent.item_id and own.period = earlier.period
        where recent.period = 0
      ),

      mean as (
        select item_id, measured, sum(weight * scaled) / sum(weight) as expected from compared group by 1, 2
      ),

      scored as (
        select
          mean.item_id, mean.measured, expected,
          (mean.measured - greatest(expected, 5))
            / (sqrt(greatest(sum(weight * pow(scaled - expected, 2)) / sum(weight), expected)) + 5) as score
        from mean
        join compared using (item_id)
        group by 1, 2, 3
      )

      select
        row_number() over (order by round(cast(score as numeric(30, 12)), 9) desc, measured desc, external_id),
        external_id, measured, expected, score
      from scored
      join track.item using (item_id)
      where score > 0
      order by 1
      limit 10`,
  };
}

/** Numbers of events and people by week, in a zone, of a set of people, or by value. */
function trendOf(
  name: string,
  event: string,
  since: string,
  until: string,
  {
    zone = "UTC",
    minutes = 0,
    among,
    item,
    property,
    times,
  }: { zone?: string; minutes?: number; among?: string; item?: string; property?: string; times?: number },
): Question {
  const bucket = `date_trunc('week', occurred_at + interval '${minutes} minutes') - interval '${minutes} minutes'`;
  const shift = (moment: string): string => `'${moment}'::moment - interval '${minutes} minutes'`;
  return {
    name: `trend, ${name}`,
    ...(times === undefined ? {} : { times }),
    ours: `
      select ${property === undefined ? "null" : "breakdown_value"}, extract(epoch from bucket_start)::float8, event_count, person_count
      from analytics.trend(
        '${event}', 'week', ${shift(since)}, ${shift(until)}, zone => '${zone}'
        ${among === undefined ? "" : `, among => '${among}'`}
        ${item === undefined ? "" : `, item => '${item}'`}
        ${property === undefined ? "" : `, breakdown => 'property.${property}'`}
      )
      where event_count > 0
      order by 1 nulls first, 2`,
    plain: `
      select
        ${property === undefined ? "null" : `'${property}'::property`}, extract(epoch from ${bucket})::float8, count(*),
        count(distinct person_id)
      from track.event
      join person using (person_id)
      where event_type_id = (select event_type_id from track.event_type where name = '${event}')
        and occurred_at >= ${shift(since)}
        and occurred_at < ${shift(until)}
        and ${among === undefined && item === undefined ? "not is_excluded" : "is_counted"}
        ${
          item === undefined
            ? ""
            : `and item_id in (
          select item_ancestor.item_id
          from track.item_ancestor
          join track.item on item.item_id = ancestor_item_id
          where external_id = '${item}'
        )`
        }
      group by 1, 2
      order by 1 nulls first, 2`,
  };
}

export function questions(until: number): Question[] {
  const year = date(until - 364 * DAY);
  // A Monday.
  const lastWeek = until - ((new Date(until).getUTCDay() + 6) % 7) * DAY;
  const end = date(until);
  const weeks = [date(lastWeek - 52 * 7 * DAY), date(lastWeek)] as const;
  const months = [month(until, 10), month(until, 0)] as const;
  return [
    popularItems("28 days", [date(until - 28 * DAY), end]),
    popularItems("28 days, half-life of 7 days", [date(until - 28 * DAY), end], { halfLife: 7 }),
    popularItems("71 days", [date(until - 100 * DAY), date(until - 29 * DAY)]),
    popularItems("ten months", months),
    popularItems("ten months, by events", months, { measure: "events" }),
    popularItems("ten months, by engaged time", months, { measure: "engaged" }),
    popularItems("ten months, half-life of 30 days", months, { halfLife: 30 }),
    popularItems("single items, 71 days", [date(until - 100 * DAY), date(until - 29 * DAY)], { kind: null }),
    popularItems("single items, ten months", months, { kind: null }),
    ...(["Page Viewed", "Task Submitted", "Course Completed"] as const).flatMap((event) => [
      trend(event, "day", year, end),
      trend(event, "week", ...weeks),
      trend(event, "month", month(until, 12), month(until, 0)),
    ]),
    trendOf("by week in a zone at +05:30", "Task Submitted", ...weeks, { zone: "Asia/Kolkata", minutes: 330 }),
    trendOf("by week, among a set of people", "Task Submitted", ...weeks, { among: "counted" }),
    trendOf("by week, of a course", "Task Submitted", ...weeks, { item: "course-7" }),
    trendOf("by week and an undeclared property", "Task Submitted", ...weeks, { property: "plan", times: 10 }),
    activePeople(year, end),
    lifecycle(...weeks),
    retention(...weeks),
    stickiness(date(until - 28 * DAY), end),
    featureUsage(date(until - 28 * DAY), end),
    trendingItems("course", date(until - 7 * DAY), end),
    trendingItems(null, date(until - 7 * DAY), end),
    ...funnelQuestions(until),
    {
      ...trendOf("by week and a declared property", "Task Submitted", ...weeks, { property: "plan" }),
      prepare: "select track.declare_property('Task Submitted', 'plan')",
    },
    ...pathQuestions([year, end], months, [date(until - 28 * DAY), end]),
    ...courseQuestions([year, end], [date(until - 28 * DAY), end], until),
  ];
}
