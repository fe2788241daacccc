import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, type Recommendation } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
/** A course of two modules with two parts each, in this order; `b2` requires `b1`. */
const parts = ["a", "a1", "a2", "b", "b1", "b2"];
await ingest(database, [
  { person: "author", event: "Published", item: "course", kind: "course" },
  { person: "author", event: "Published", item: "other", kind: "course" },
  ...parts.map((item) => ({
    person: "author",
    event: "Published",
    item,
    kind: item.length === 1 ? "module" : "task",
    parent: item.length === 1 ? "course" : item.slice(0, 1),
  })),
]);
await database.query(`insert into track.prerequisite (item_id, required_item_id)
  select item.item_id, required.item_id from track.item cross join track.item as required
  where item.external_id = 'b2' and required.external_id = 'b1'`);

const next = async (person: string, top = 10) =>
  (
    await database.rows<{ row: Recommendation }>("select to_jsonb(r) as row from recommend.next_item($1, $2) as r", [
      person,
      top,
    ])
  ).map(({ row }) => row);
const steps = async (person: string) =>
  (await next(person)).filter(({ basis }) => basis === "next").map(({ item }) => item);

test("what follows in the order of the tree, then what was passed over", async () => {
  await ingest(database, [{ person: "ada", event: "Task Completed", item: "a2", day: 1 }]);
  // b2 requires b1.
  expect(await steps("ada")).toEqual(["b1", "a1"]);
  const [first] = await next("ada", 1);
  expect(first).toMatchObject({ rank: 1, item: "b1", basis: "next", reasons: [{ kind: "next" }] });
  await ingest(database, [{ person: "ada", event: "Task Completed", item: "b1", day: 2 }]);
  expect(await steps("ada")).toEqual(["b2", "a1"]);
  await ingest(database, [
    { person: "ada", event: "Task Completed", item: "b2", day: 3 },
    { person: "ada", event: "Task Completed", item: "a1", day: 4 },
  ]);
  expect(await steps("ada")).toEqual([]);
});

test("ranks continue with the list of courses", async () => {
  await ingest(database, [{ person: "ben", event: "Task Started", item: "a1", day: 1 }]);
  const rows = await next("ben");
  expect(rows.map(({ rank }) => rank)).toEqual(rows.map((_, n) => n + 1));
  expect(rows.map(({ item }) => item)).toEqual(expect.arrayContaining(["a2", "b1", "other"]));
  expect(rows.slice(0, 2).map(({ item }) => item)).toEqual(["a2", "b1"]);
});

test("the attribute position orders the parts", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`update track.item set attributes = '{"position": 1}' where external_id = 'b'`);
    await db.query(`update track.item set attributes = '{"position": "2"}' where external_id = 'a'`);
    await ingest(db, [{ person: "eve", event: "Task Completed", item: "b1", day: 1 }]);
    expect(
      (await db.rows<{ item: string }>("select item from recommend.next_item('eve', 3)")).map(({ item }) => item),
    ).toEqual(["b2", "a1", "a2"]);
  });
});

test("a course that is over, and one that was not used, have no next item", async () => {
  await ingest(database, [
    { person: "done", event: "Task Completed", item: "a1", day: 1 },
    { person: "done", event: "Course Completed", item: "course", day: 2 },
  ]);
  expect(await steps("done")).toEqual([]);
  for (const person of ["done", "ghost"]) expect(await next(person)).not.toEqual([]);
  await ingest(database, [{ person: "quiet", event: "Task Completed", item: "a1", day: 1 }]);
  expect(await steps("quiet")).not.toEqual([]);
  await database.query("select privacy.record_consent(track.find_person('quiet'), 'personalization', false)");
  expect(await steps("quiet")).toEqual([]);
});

test("bad input is refused", async () => {
  expect((await database.rejects("select * from recommend.next_item('')")).message).toBe('the person is ""');
  expect((await database.rejects("select * from recommend.next_item('ada', 0)")).message).toBe("top is 0");
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from recommend.next_item('ben')")).toEqual(["admin", "worker"]);
});
