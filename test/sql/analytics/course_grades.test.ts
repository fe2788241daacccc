import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { refresh } from "../track/messages.ts";
import { withFloor } from "./doings.ts";
import { graded, makeGraded } from "./graded.ts";

const database = await testDatabase();
await makeGraded(database);

interface Bucket {
  lower: number | null;
  upper: number | null;
  people: number;
  share: number | null;
}
function expected(floor: number): Bucket[] {
  const buckets = [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, null].map((number) => {
    const people = graded.filter(({ grade }) =>
      grade === null || number === null
        ? grade === number
        : grade >= number / 10 && (grade < (number + 1) / 10 || number === 9),
    ).length;
    return {
      lower: number === null ? null : number / 10,
      upper: number === null ? null : (number + 1) / 10,
      people: shown(people, people, floor),
    };
  });
  const sum = buckets.reduce((total, { people }) => total + people, 0);
  return buckets.map((bucket) => ({ ...bucket, share: sum === 0 ? null : bucket.people / sum }));
}
const columns = "lower_bound as lower, upper_bound as upper, person_count::int as people, share";

test("grades by tenths, before and after a refresh", async () => {
  for (const refreshed of [false, true]) {
    if (refreshed) await refresh(database);
    expect(await database.rows(`select ${columns} from analytics.course_grades('law')`)).toEqual(expected(1));
  }
  expect(expected(1).map(({ people }) => people)).toContain(0);
});

test("analysts see rounded numbers, and none where there are too few people", async () => {
  for (const floor of [2, 4, 6])
    expect(await withFloor(database, floor, `select ${columns} from analytics.course_grades('law')`)).toEqual(
      expected(floor),
    );
});

test("an instructor sees her course; without learners there are no shares", async () => {
  await database.as("insights_instructor", { "insights.person": "tess" }, async (db) => {
    expect(await db.rows(`select ${columns} from analytics.course_grades('law')`)).toEqual(expected(1));
    expect(await db.rejects("select * from analytics.course_grades('tax')")).toMatchObject({ code: "CF002" });
    expect(await db.rejects("select * from analytics.course_grades('law', 'counted')")).toMatchObject({
      code: "CF005",
    });
  });
  expect(
    await database.rows("select distinct person_count::int as people, share from analytics.course_grades('tax')"),
  ).toEqual([{ people: 0, share: null }]);
});

test("an unknown course or set is an error", async () => {
  for (const [given, code] of [
    ["'laws'", "CF002"],
    ["null", "CF002"],
    ["'law', 'none'", "CF002"],
  ])
    expect(await database.rejects(`select * from analytics.course_grades(${given})`)).toMatchObject({ code });
});

test("is for instructors, analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.course_grades('law')")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
