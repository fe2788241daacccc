/* Questions of bench/analytics.ts about sessions, the hours of the week and the learners of a course. */
import { DAY, date, type Question } from "./questions.ts";

type Period = readonly [since: string, until: string];

/** The sessions of people who are not excluded that started in a period. */
const sessions = ([since, until]: Period): string => `
      started as (
        select session.*
        from track.session
        join person using (person_id)
        where started_at >= '${since}'::moment
          and started_at < '${until}'::moment
          and not is_excluded
          and person_id <> 0
      )`;

function sessionDistribution(name: string, period: Period): Question {
  const bins = [0, 10, 30, 60, 180, 600, 1800, 3600];
  return {
    name: `session_distribution, engaged, ${name}`,
    times: 3,
    ours: `
      select bin_start, session_count, person_count
      from analytics.session_distribution('engaged', '${period[0]}'::moment, '${period[1]}'::moment)
      where session_count > 0
      order by 1`,
    plain: `
      with ${sessions(period)}

      select
        case ${bins
          .toReversed()
          .map((bin) => `when seconds(engaged) >= ${bin} then ${bin}`)
          .join(" ")} end,
        count(*), count(distinct person_id)
      from started
      group by 1
      order by 1`,
  };
}

/** The cost of reading the sessions of a period alone, before anything is computed from them. */
function countedSessions(name: string, [since, until]: Period): Question {
  const question = `
      select count(*)
      from track.session
      where started_at >= '${since}'::moment
        and started_at < '${until}'::moment
        and view_count >= 0
        and person_id <> 0`;
  return { name: `sessions counted, ${name}`, times: 3, ours: question, plain: question };
}

/** The same of the journeys. */
function countedEvents(name: string, [since, until]: Period): Question {
  return {
    name: `events of journeys counted, ${name}`,
    times: 3,
    ours: `
      select sum(cardinality(occurred_at))
      from analytics._journeys(array[0], true, false, '${since}'::moment, '${until}'::moment)`,
    plain: `
      select count(*)
      from track.event
      join track.event_type using (event_type_id)
      where not is_automatic
        and occurred_at >= '${since}'::moment
        and occurred_at < '${until}'::moment
        and person_id <> 0`,
  };
}

function sessionItems(name: string, period: Period): Question {
  return {
    name: `session_items, entry, ${name}`,
    times: 3,
    ours: `
      select item, session_count, person_count, bounce_count
      from analytics.session_items('entry', '${period[0]}'::moment, '${period[1]}'::moment)`,
    plain: `
      with ${sessions(period)}

      select
        external_id, count(*), count(distinct person_id),
        count(*) filter (where view_count <= 1 and seconds(engaged) < 10)
      from started
      join track.item on item.item_id = entry_item_id
      group by 1
      order by 2 desc, 1
      limit 10`,
  };
}

function hourOfWeek(name: string, event: string | null, [since, until]: Period): Question {
  return {
    name: `hour_of_week, ${name}`,
    times: 3,
    aim: 300,
    ours: `
      select weekday, hour, event_count, person_count
      from analytics.hour_of_week(
        ${event === null ? "null" : `'${event}'`}, '${since}'::moment, '${until}'::moment, zone => 'UTC'
      )
      where event_count > 0
      order by 1, 2`,
    plain: `
      select extract(isodow from occurred_at), extract(hour from occurred_at), count(*), count(distinct person_id)
      from track.event
      join track.event_type using (event_type_id)
      join person using (person_id)
      where ${event === null ? "not is_automatic" : `name = '${event}'`}
        and occurred_at >= '${since}'::moment
        and occurred_at < '${until}'::moment
        and not is_excluded
        and person_id <> 0
      group by 1, 2
      order by 1, 2`,
  };
}

function productivityCycle(name: string, course: string | null, [since, until]: Period): Question {
  return {
    name: `productivity_cycle, ${name}`,
    times: 3,
    aim: 500,
    ours: `
      select hour, hour_count, person_count
      from analytics.productivity_cycle(
        ${course === null ? "null" : `'${course}'`}, '${since}'::moment, '${until}'::moment, zone => 'UTC'
      )
      where hour_count > 0
      order by 1`,
    plain: `
      with active as (
        select distinct person_id, date_trunc('hour', occurred_at) as hour_start
        from track.event
        join track.event_type using (event_type_id)
        join person using (person_id)
        where not is_automatic
          and occurred_at >= '${since}'::moment
          and occurred_at < '${until}'::moment
          and not is_excluded
          and person_id <> 0
          ${
            course === null
              ? ""
              : `and item_id in (${partsOf(course)})
          and person_id in (select person_id from track.enrolment where item_id = (${keyOf(course)}))`
          }
      )

      select extract(hour from hour_start), count(*), count(distinct person_id)
      from active
      group by 1
      order by 1`,
  };
}

const keyOf = (course: string): string => `select item_id from track.item where external_id = '${course}'`;

const partsOf = (course: string): string => `
          select item_ancestor.item_id from track.item_ancestor where ancestor_item_id = (${keyOf(course)})`;

const learnersOf = (course: string): string => `
      learner as (
        select
          person_id, max(case when status = 'completed' then 1 else 0 end) as has_completed,
          min(case when status = 'dropped' then 1 else 0 end) as has_dropped, min(enrolled_at) as enrolled_at
        from track.enrolment
        join person using (person_id)
        where item_id = (${keyOf(course)})
          and not is_excluded
        group by person_id
      )`;

function stoppingPoints(course: string, until: number): Question {
  const today = Math.floor(Date.now() / DAY) * DAY;
  return {
    name: "stopping_points of a course",
    times: 3,
    aim: 500,
    ours: `
      select item, reached_count, stopped_count
      from analytics.stopping_points('${course}')
      where item is not null
        and reached_count > 0
      order by 1`,
    plain: `
      with ${learnersOf(course)},

      used as (
        select person_id, item_id, max(occurred_at) as ended_at
        from track.event
        join track.event_type using (event_type_id)
        where item_id in (${partsOf(course)})
          and not is_automatic
          and person_id in (select person_id from learner)
          and occurred_at < '${date(until + DAY)}'::moment
        group by 1, 2
      ),

      last_used as (
        select *
        from (
          select *, row_number() over (partition by person_id order by ended_at desc, item_id desc) as place from used
        ) as one
        where place = 1
      ),

      stopped as (
        select last_used.item_id, count(*) as people
        from learner
        left join last_used using (person_id)
        where has_completed = 0
          and (has_dropped = 1 or coalesce(ended_at, enrolled_at) < '${date(today - 14 * DAY)}'::moment)
        group by 1
      )

      select external_id, count(*), coalesce(max(people), 0)
      from used
      join track.item using (item_id)
      left join stopped using (item_id)
      group by 1
      order by 1`,
  };
}

function engagementLevels(course: string): Question {
  return {
    name: "engagement_levels of a course",
    times: 3,
    ours: `
      select section, case left(level, 2) when 'No' then 1 when 'At' then 2 else 3 end, person_count
      from analytics.engagement_levels('${course}')
      where person_count > 0
      order by 1, 2`,
    plain: `
      with ${learnersOf(course)},

      part as (
        select item.item_id, parent.external_id as section
        from track.item
        join track.item_ancestor on item_ancestor.item_id = item.item_id
        join track.item as parent on parent.item_id = ancestor_item_id
        where item.kind = 'page'
          and parent.kind = 'module'
          and item.item_id in (${partsOf(course)})
      ),

      used as (
        select person_id, item_id from track.event where item_id in (select item_id from part)
        union
        select person_id, item_id from track.page_view where item_id in (select item_id from part)
      ),

      done as (
        select section, person_id, count(*) as items from used join part using (item_id) group by 1, 2
      ),

      sizes as (
        select section, count(*) as items from part group by 1
      )

      select
        sizes.section,
        case when coalesce(done.items, 0) = 0 then 1 when done.items < sizes.items then 2 else 3 end, count(*)
      from sizes
      cross join learner
      left join done on done.section = sizes.section and done.person_id = learner.person_id
      where has_dropped = 0
      group by 1, 2
      order by 1, 2`,
  };
}

export function courseQuestions(year: Period, days: Period, until: number): Question[] {
  const course = "course-7";
  return [
    sessionDistribution("28 days", days),
    sessionDistribution("a year", year),
    sessionItems("a year", year),
    countedSessions("a year", year),
    countedEvents("28 days", days),
    hourOfWeek("28 days", null, days),
    hourOfWeek("submissions of a year", "Task Submitted", year),
    productivityCycle("28 days", null, days),
    productivityCycle("a course, a year", course, year),
    stoppingPoints(course, until),
    engagementLevels(course),
  ];
}
