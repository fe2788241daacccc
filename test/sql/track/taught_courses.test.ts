import { expect, test } from "vitest";
import { makeCampus } from "../../support/campus.ts";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await makeCampus(database);

const taught = (person: string, settings: Record<string, string> = {}) =>
  database.as("insights_instructor", { "insights.person": person, ...settings }, (db) =>
    db.rows("select * from track.taught_courses()"),
  );
const algebra = { course: "algebra", title: "Algebra", role: "instructor", started_at: null, ended_at: null };
const lab = { ...algebra, course: "lab", title: "Laboratory" };

test("are those of the role, and those that they contain", async () => {
  expect(await taught("tess")).toEqual([algebra, lab]);
  expect(await taught("otto")).toEqual([{ ...algebra, course: "poetry", title: "Poetry" }]);
  const period = { started_at: new Date("2020-01-01Z"), ended_at: new Date("2100-01-01Z") };
  expect(await taught("prue")).toEqual([
    { ...algebra, ...period },
    { ...lab, ...period },
  ]);
  expect(await taught("lara")).toEqual([{ ...lab, role: "assistant", started_at: new Date("2020-01-01Z") }]);
});

test.each(["axel", "past", "next", "ada", "a browser", "unknown", ""])("of %s there are none", async (person) => {
  expect(await taught(person)).toEqual([]);
});

test("of several roles in a course, that of an instructor is returned, and each course once", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("insert into campus.staff values ('lara', 'algebra', 'instructor'), ('tess', 'lab', 'assistant')");
    await db.query("select track.sync_item_roles('campus.staff')");
    for (const person of ["lara", "tess"]) {
      await db.query("select set_config('insights.person', $1, true)", [person]);
      await db.query("select track.sign_in()");
      await db.query("set local role insights_instructor");
      expect(await db.rows("select * from track.taught_courses()")).toEqual([algebra, lab]);
      await db.query("set local role postgres");
    }
  });
});

test("the person is the one of the token, whatever the value of insights.person_id", async () => {
  const tess = await database.value<string>("select track.find_person('tess')");
  await database.as("insights_instructor", { "insights.person": "otto" }, async (db) => {
    await db.query("select set_config('insights.person_id', $1, true)", [tess]);
    expect(await db.rows("select * from track.taught_courses()")).toEqual([]);
    expect((await db.rejects("select * from analytics.course_learners('algebra')")).code).toBe("CF002");
  });
});

test("is for instructors", async () => {
  expect(await rolesThatMay(database, "select * from track.taught_courses()")).toEqual(["instructor"]);
});
