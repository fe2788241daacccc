import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, refresh, type Step } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const due = async (share = 0.1): Promise<string[]> =>
  (await database.rows<{ kind: string }>("select kind from recommend.due_trainings($1) as kind", [share])).map(
    ({ kind }) => kind,
  );

const enrol = (person: string, item: string, day: number): Step => ({
  person,
  event: "Course Enrolled",
  item,
  day,
  kind: "course",
});

test("items that people dislike, dismissed, dropped or only know do not count", async () => {
  const people = [1, 2, 3, 4, 5, 6];
  for (const event of ["Item Disliked", "Course Dropped", "Course Dismissed", "Item Known"]) {
    await ingest(
      database,
      people.flatMap((n) => ["a", "b"].map((item) => ({ ...enrol(`${event} ${n}`, item, 2), event }))),
    );
    if (event === "Item Known") continue;
    await ingest(
      database,
      people.flatMap((n) => ["a", "b"].map((item) => enrol(`${event} ${n}`, item, 1))),
    );
  }
  await refresh(database);
  expect(await due()).toEqual([]);
  expect((await database.rejects("select recommend.train()")).code).toBe("CF004");
});

test("a first training is scheduled exactly when it would succeed", async () => {
  expect(await due()).toEqual([]);
  // Four people with two courses, many with one: a training would be refused.
  await ingest(database, [
    ...[1, 2, 3, 4].flatMap((n) => [enrol(`p${n}`, "a", n), enrol(`p${n}`, n % 2 ? "b" : "c", n + 1)]),
    ...[11, 12, 13, 14, 15, 16].map((n) => enrol(`p${n}`, "a", n)),
  ]);
  await refresh(database);
  expect(await due()).toEqual([]);
  expect((await database.rejects("select recommend.train()")).code).toBe("CF004");

  await ingest(database, [enrol("p5", "a", 20), enrol("p5", "b", 21)]);
  await refresh(database);
  expect(await due()).toEqual(["course"]);
  await database.query("select recommend.train()");
  expect(await due()).toEqual([]);
  expect(await due(0)).toEqual([]);
});

test("a further one is scheduled when there are enough new interactions", async () => {
  // The model learned from 16 pairs: a tenth of them is two.
  await ingest(database, [enrol("p6", "a", 30)]);
  await refresh(database);
  expect(await due()).toEqual([]);
  expect(await due(0)).toEqual(["course"]);
  await ingest(database, [enrol("p6", "b", 31)]);
  await refresh(database);
  expect(await due()).toEqual(["course"]);
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select * from recommend.due_trainings()")).toEqual(["worker"]);
});
