/* Questions of bench/analytics.ts about paths. Plain SQL and DuckDB have the page views with their sessions (`viewed`). */
import type { Question } from "./questions.ts";

/** The nodes of each session in their order, without repetitions: `n0` to the last one, `position` in the session. */
function sequence(nodes: "item" | "course", length: number, since: string, until: string): string {
  return `
      with placed as (
        select
          viewed.person_id, session_at, view_number, ${nodes === "item" ? "viewed.item_id" : "ancestor_item_id"} as node
        from viewed
        join person using (person_id)
        ${
          nodes === "item"
            ? ""
            : `join (
          select item_ancestor.item_id, ancestor_item_id
          from track.item_ancestor
          join track.item on item.item_id = ancestor_item_id and item.kind = 'course'
        ) as ancestor on ancestor.item_id = viewed.item_id`
        }
        where session_at >= '${since}'::moment
          and session_at < '${until}'::moment
          and viewed.item_id is not null
          and not is_excluded
      ),

      run as (
        select *, lead(node) over (partition by person_id, session_at order by view_number) as next_node
        from placed
      ),

      walk as (
        select
          person_id, node as n0,
          row_number() over in_session as position
          ${Array.from({ length: length - 1 }, (_, index) => `, lead(node, ${index + 1}) over in_session as n${index + 1}`).join("")}
        from run
        where next_node is null or next_node <> node
        window in_session as (partition by person_id, session_at order by view_number)
      )`;
}

function sequences(name: string, nodes: "item" | "course", since: string, until: string, times: number): Question {
  return {
    name: `sequences, ${name}`,
    times,
    ours: `
      select nodes[1], nodes[2], nodes[3], occurrence_count, person_count
      from analytics.sequences('${since}'::moment, '${until}'::moment, nodes => '${nodes}', length => 3)
      order by 4 desc, 5 desc, 1, 2, 3
      limit 20`,
    plain: `${sequence(nodes, 3, since, until)},

      counted as (
        select n0, n1, n2, count(*) as times, count(distinct person_id) as people
        from walk
        where n2 is not null
        group by 1, 2, 3
      )

      select one.external_id, two.external_id, three.external_id, times, people
      from counted
      join track.item as one on one.item_id = n0
      join track.item as two on two.item_id = n1
      join track.item as three on three.item_id = n2
      order by 4 desc, 5 desc, 1, 2, 3
      limit 20`,
  };
}

function paths(name: string, since: string, until: string): Question {
  return {
    name: `paths, ${name}`,
    times: 3,
    ours: `
      select step, source, target, transition_count, person_count, share
      from analytics.paths('${since}'::moment, '${until}'::moment)`,
    plain: `${sequence("item", 2, since, until)},

      counted as (
        select position, n0, n1, count(*) as times, count(distinct person_id) as people
        from walk
        where position < 5
        group by 1, 2, 3
      ),

      whole as (
        select position, n0, sum(times) as times from counted group by 1, 2
      )

      select
        counted.position, one.external_id, two.external_id, counted.times, people, counted.times / whole.times::float8
      from counted
      join whole on whole.position = counted.position and whole.n0 = counted.n0
      join track.item as one on one.item_id = counted.n0
      join track.item as two on two.item_id = counted.n1
      order by 4 desc, 1, 2, 3
      limit 50`,
  };
}

function transitions(since: string, until: string): Question {
  return {
    name: "transitions, ten months",
    aim: 200,
    ours: `
      select source, target, transition_count
      from analytics.transitions('${since}'::moment, '${until}'::moment)`,
    plain: `
      with placed as (
        select
          viewed.item_id, lead(viewed.item_id) over (partition by person_id, session_at order by view_number) as next_id
        from viewed
        join person using (person_id)
        where session_at >= '${since}'::moment
          and session_at < '${until}'::moment
          and viewed.item_id is not null
          and is_counted
      ),

      counted as (
        select item_id, next_id, count(*) as times from placed where next_id <> item_id group by 1, 2
      )

      select one.external_id, two.external_id, times
      from counted
      join track.item as one on one.item_id = counted.item_id
      join track.item as two on two.item_id = counted.next_id
      order by 3 desc, 1, 2
      limit 50`,
  };
}

export function pathQuestions(
  year: readonly [since: string, until: string],
  months: readonly [since: string, until: string],
  days: readonly [since: string, until: string],
): Question[] {
  return [
    transitions(...months),
    paths("28 days, five steps", ...days),
    sequences("three items of 28 days", "item", ...days, 3),
    sequences("three items of a year", "item", ...year, 5),
    sequences("three courses of a year", "course", ...year, 3),
  ];
}
