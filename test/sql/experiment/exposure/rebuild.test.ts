import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { move, send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
await send(database, [
  { person: "zoe", event: "Task Submitted", day: 1, properties: { item: "task" } },
  { person: "zoe", event: "Course Opened", day: 1, properties: { item: "course", itemKind: "course" } },
]);
await database.query("select experiment.define_metric('submits', 'count', '{Task Submitted}', item => 'course')");
await start(database, { key: "page", goals: ["submits"] }, 5);
await send(database, [
  viewed("ada", "page", "control", 6),
  viewed("ben", "page", "treatment", 7),
  { person: "ada", event: "Task Submitted", day: 8, properties: { item: "task" } },
]);
await refresh(database);

const outcomes = () =>
  database.rows<{ outcomes: string[] }>("select outcomes::text[] from experiment.exposure order by person_id");

test("other contents of an item count after a rebuild", async () => {
  expect(await outcomes()).toEqual([{ outcomes: ["0"] }, { outcomes: ["0"] }]);
  await send(database, [
    {
      person: "zoe",
      event: "Course Opened",
      day: 20,
      properties: { item: "task", parent: "course", itemKind: "task" },
    },
  ]);
  await refresh(database);
  expect(await database.value("select experiment.rebuild('page')")).toBe("2");
  await refresh(database);
  expect(await outcomes()).toEqual([{ outcomes: ["1"] }, { outcomes: ["0"] }]);
  expect(await database.value("select sums[1] from experiment.day_sum where position = 0 and variation = 0")).toBe("1");
});

test("another start or end counts after a rebuild", async () => {
  await move(database, "page", 6.5, 7.5);
  await database.query("select experiment.rebuild('page')");
  await refresh(database);
  expect(await outcomes()).toEqual([{ outcomes: ["0"] }]);
  expect(await database.rows("select name from track.person_set_block where name like 'arm.%'")).toEqual([
    { name: "arm.page.treatment" },
  ]);
});

test("admins and workers rebuild; an unknown experiment is an error", async () => {
  await database.as("insights_worker", {}, async (db) => {
    expect(await db.value("select experiment.rebuild('page')")).toBe("1");
  });
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select experiment.rebuild('page')")).toMatchObject({ code: "42501" });
  });
  expect(await database.rejects("select experiment.rebuild('pag')")).toMatchObject({ code: "CF002" });
});
