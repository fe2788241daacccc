import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { DAY, iso, withFloor } from "./doings.ts";
import { at, graded, makeGraded, terms } from "./graded.ts";

const database = await testDatabase();
await makeGraded(database);

interface Term {
  term: string | null;
  starts: string | null;
  learners: number;
  completed: number;
  dropped: number;
  rate: number;
  days: number | null;
  graded: number;
  grade: number | null;
}
const median = (list: number[]): number | null => {
  const sorted = list.toSorted((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return sorted.length === 0 ? null : ((sorted[Math.floor(middle)] ?? 0) + (sorted[Math.ceil(middle)] ?? 0)) / 2;
};

function expected(people = graded): Term[] {
  const of = (learner: (typeof graded)[number]) =>
    terms
      .filter(
        ({ starts, ends }) =>
          at(starts) <= learner.enrolledAt && learner.enrolledAt < (ends === null ? Infinity : at(ends)),
      )
      .toSorted((a, b) => at(b.starts) - at(a.starts))[0];
  return [...terms.toSorted((a, b) => at(a.starts) - at(b.starts)), undefined].flatMap((term) => {
    const own = people.filter((learner) => of(learner) === term);
    const done = own.filter(({ status }) => status === "completed");
    const known = own.flatMap(({ grade }) => (grade === null ? [] : [grade]));
    return own.length === 0
      ? []
      : [
          {
            term: term?.title ?? null,
            starts: term === undefined ? null : iso(at(term.starts)),
            learners: own.length,
            completed: done.length,
            dropped: own.filter(({ status }) => status === "dropped").length,
            rate: done.length / own.length,
            days: median(done.map(({ days }) => days)),
            graded: known.length,
            grade: known.length === 0 ? null : known.reduce((sum, one) => sum + one, 0) / known.length,
          },
        ];
  });
}

const columns = `term, to_char(starts_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as starts,
  learner_count::int as learners, completed_count::int as completed, dropped_count::int as dropped,
  completion_rate as rate, (extract(epoch from median_time) / 86400)::float8 as days, graded_count::int as graded,
  mean_grade as grade`;
function compare(rows: Term[], list: Term[]): void {
  expect(rows.map((row) => ({ ...row, grade: null }))).toEqual(list.map((term) => ({ ...term, grade: null })));
  rows.forEach(({ grade }, index) => {
    const known = list[index]?.grade ?? null;
    if (known === null) expect(grade).toBeNull();
    else expect(grade).toBeCloseTo(known, 12);
  });
}

test("learners by the term in which they enrolled, before and after a refresh", async () => {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(database);
    compare(await database.rows<Term>(`select ${columns} from analytics.course_terms('law')`), expected());
  }
  expect(expected().map(({ term }) => term)).toEqual(["Spring", "Summer school", "Autumn", "Open", null]);
});

test("analysts see rounded numbers of enough people", async () => {
  const exact = expected();
  for (const floor of [4, 7]) {
    const rows = await withFloor<Term>(database, floor, `select ${columns} from analytics.course_terms('law')`);
    const list = exact.filter(({ learners }) => shown(learners, learners, floor) > 0);
    expect(rows.map(({ term }) => term)).toEqual(list.map(({ term }) => term));
    rows.forEach((row, index) => {
      const term = list[index] as Term;
      for (const figure of ["learners", "completed", "dropped", "graded"] as const)
        expect(row[figure]).toBe(shown(term[figure], term[figure], floor));
      expect(row.rate).toBeCloseTo(row.completed / row.learners, 12);
      expect(row.days === null).toBe(term.completed < 4.5 * floor);
      expect(row.grade === null).toBe(term.graded < 1.5 * floor);
      if (row.grade !== null) expect(Math.abs(row.grade - (term.grade ?? 0))).toBeLessThan(floor / term.graded);
    });
    expect(rows.some(({ grade }) => grade !== null)).toBe(true);
  }
});

test("of a set of people; an instructor sees her course", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(
      "select track.set_person_set('some', array(select track.find_person(format('g%s', n)) from generate_series(0, 9) as n))",
    );
    compare(
      await db.rows<Term>(`select ${columns} from analytics.course_terms('law', 'some')`),
      expected(graded.slice(0, 10)),
    );
  });
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    compare(await db.rows<Term>(`select ${columns} from analytics.course_terms('law')`), expected());
    expect(await db.rejects("select * from analytics.course_terms('tax')")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select * from analytics.course_terms('law', 'counted')")).toMatchObject({ code: "CF005" });
  });
});

test("a new run counts in its term, without the grade of the earlier one", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("update public.graded_people set enrolled_at = $1 where person = 'g0'", [
      iso(at("2025-09-05") + DAY),
    ]);
    await db.query("select track.sync_enrolments('public.graded_people')");
    const autumn = expected().find(({ term }) => term === "Autumn");
    expect(
      await db.rows(
        "select learner_count::int as n, graded_count::int as graded from analytics.course_terms('law') where term = 'Autumn'",
      ),
    ).toEqual([{ n: (autumn?.learners ?? 0) + 1, graded: autumn?.graded }]);
  });
});

test("a course without learners has no terms; an unknown course or set is an error", async () => {
  expect(await database.rows("select from analytics.course_terms('tax')")).toEqual([]);
  for (const [given, code] of [
    ["'laws'", "CF002"],
    ["null", "CF002"],
    ["'law', 'none'", "CF002"],
    ["'law', '&&'", "CF001"],
  ])
    expect(await database.rejects(`select * from analytics.course_terms(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_terms('law')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
