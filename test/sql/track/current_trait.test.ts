import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();
const inside = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);
const state = (userId: string, timestamp: string, plan: unknown) =>
  message({ type: "identify", event: undefined, userId, traits: { plan }, timestamp });

const current = (db: Queries, people = "null"): Promise<object[]> =>
  db.rows(
    `select external_id as person, value, set_at::text
     from track.current_trait(${people}, 'plan') as read
     join track.identity on identity.identity_id = read.person_id
     order by 1`,
  );

test("is the latest value of each person, of the identity that sent it last", async () => {
  await inside(async (db) => {
    await db.query("set local timezone to 'UTC'");
    await ingest(db, [
      state("ada", "2026-03-03T10:00:00Z", "pro"),
      state("ada", "2026-03-01T10:00:00Z", "free"),
      state("eve", "2026-03-04T10:00:00Z", "team"),
    ]);
    const separate = [
      { person: "ada", value: "pro", set_at: "2026-03-03 10:00:00+00" },
      { person: "eve", value: "team", set_at: "2026-03-04 10:00:00+00" },
    ];
    expect(await current(db)).toEqual(separate);
    expect(await current(db, "array[track.find_person('ada')]")).toEqual(separate.slice(0, 1));
    expect(await current(db, "'{}'")).toEqual([]);
    await db.query("select track.link_identities('ada', 'eve')");
    expect(await current(db)).toEqual([{ person: "ada", value: "team", set_at: "2026-03-04 10:00:00+00" }]);
  });
});

test("of two identities with the same time, the greater value", async () => {
  for (const plans of [
    ["a", "b"],
    ["b", "a"],
  ]) {
    await inside(async (db) => {
      await ingest(
        db,
        ["ada", "eve"].map((person, index) => state(person, "2026-03-03T10:00:00Z", plans[index])),
      );
      await db.query("select track.link_identities('ada', 'eve')");
      expect(await current(db)).toMatchObject([{ person: "ada", value: "b" }]);
    });
  }
});

test("may be read by learners and admins", async () => {
  expect(await rolesThatMay(database, "select * from track.current_trait(null, 'plan')")).toEqual([
    "learner",
    "instructor",
    "admin",
  ]);
});
