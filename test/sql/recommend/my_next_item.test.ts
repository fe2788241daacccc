import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await ingest(database, [
  { person: "author", event: "Published", item: "course", kind: "course" },
  { person: "author", event: "Published", item: "task-1", kind: "task", parent: "course" },
  { person: "author", event: "Published", item: "task-2", kind: "task", parent: "course" },
  { person: "ada", event: "Task Completed", item: "task-1", day: 1 },
]);

test("a learner gets what next_item returns for her", async () => {
  const expected = await database.rows("select rank, item, basis, score from recommend.next_item('ada', 5)");
  expect(expected[0]).toMatchObject({ item: "task-2", basis: "next" });
  await database.as("insights_learner", { "insights.person": "ada" }, async (db) => {
    await db.query("select track.sign_in()");
    expect(await db.rows("select rank, item, basis, score from recommend.my_next_item(5)")).toEqual(expected);
  });
  await database.as("insights_learner", { "insights.person": "nobody" }, async (db) => {
    expect(await db.rows("select basis from recommend.my_next_item()")).toEqual([{ basis: "newest" }]);
    expect((await db.rejects("select * from recommend.my_next_item(0)")).message).toBe("top is 0");
  });
});

test("is for learners", async () => {
  expect(await rolesThatMay(database, "select * from recommend.my_next_item()")).toEqual(["learner", "instructor"]);
});
