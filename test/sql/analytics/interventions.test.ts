import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeInterventions } from "./interventions.ts";

const database = await testDatabase();
await makeInterventions(database);

interface Row {
  person: string;
  action: string;
  note: string | null;
  status: string | null;
  days: number;
}
const list = (db: Queries, rest = ""): Promise<Row[]> =>
  db.rows<Row>(
    `select person, action, note, status, active_days as days from analytics.interventions('algebra'${rest})`,
  );
const as = <T>(person: string, work: (db: Queries) => Promise<T>): Promise<T> =>
  database.as("insights_instructor", { "insights.person": person }, work);

test("the notes of a course, the latest first, with the outcome of each", async () => {
  const rows = await as("tess", (db) => list(db));
  expect(rows).toHaveLength(16);
  expect(rows[0]).toEqual({ person: "n8", action: "message", note: null, status: "active", days: 0 });
  const by = (person: string, action: string) => rows.filter((row) => row.person === person && row.action === action);
  expect(by("n0", "message")).toMatchObject([{ note: "Wrote to 0.", status: "completed", days: 1 }]);
  expect(by("n3", "message")).toMatchObject([{ status: "active", days: 2 }]);
  expect(by("n4", "message")).toMatchObject([{ days: 0 }]);
  expect(by("n5", "message")).toMatchObject([{ status: "dropped", days: 0 }]);
  expect(by("n10", "call")).toMatchObject([{ days: 1 }]);
  expect(by("n11", "call")).toMatchObject([{ days: 0 }]);
  expect(
    await database.value(
      "select bool_and(last_active_at > happened_at) from analytics.interventions('algebra') where person in ('n0', 'n4')",
    ),
  ).toBe(true);
});

test("of one learner; none of an unknown one, and of one who has opted out since", async () => {
  await as("prue", async (db) => {
    expect((await list(db, ", 'n8'")).map(({ action }) => action)).toEqual(["message", "call", "message"]);
    expect(await list(db, ", 'nobody'")).toEqual([]);
  });
  await database.as("postgres", {}, async (db) => {
    await db.query("select privacy.record_consent(track.find_person('n8'), 'analytics', false)");
    expect(await list(db, ", 'n8'")).toEqual([]);
  });
});

test("they follow a merge of people and of courses", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select track.link_identities('n8', 'n9')");
    expect(new Set((await list(db, ", 'n9'")).map(({ person }) => person))).toEqual(new Set(["n8", "n9"]));
    await db.query("select track.merge_items('algebra', 'poetry')");
    expect((await db.rows("select from analytics.interventions('poetry')")).length).toBe(16);
  });
});

test("not of courses that the instructor does not teach", async () => {
  for (const person of ["otto", "past", "n0"])
    await as(person, async (db) => {
      expect(await db.rejects("select * from analytics.interventions('algebra')")).toMatchObject({ code: "CF002" });
    });
  expect(await as("otto", (db) => db.rows("select from analytics.interventions('poetry')"))).toEqual([]);
});

test("is for instructors, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.interventions('algebra')")).toEqual([
    "instructor",
    "admin",
    "worker",
  ]);
});
