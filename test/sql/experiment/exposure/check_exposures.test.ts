import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { send, start, viewed } from "../experiments.ts";

const database = await testDatabase();
await send(database, [{ person: "zoe", event: "Task Submitted", day: 1 }]);
await database.query("select experiment.define_metric('submits', 'proportion', '{Task Submitted}')");
await start(database, { key: "page", goals: ["submits"] }, 5);
await send(
  database,
  Array.from({ length: 20 }, (_, i) => [
    viewed(`person ${i}`, "page", i % 2, 6 + (i % 3)),
    { person: `person ${i}`, event: "Task Submitted", day: 9 },
  ]).flat(),
);
await refresh(database);

const check = async (args = ""): Promise<Record<string, unknown>> =>
  (await database.rows(`select * from experiment.check_exposures('page'${args})`))[0] as Record<string, unknown>;
const sums = () => database.rows("select * from experiment.day_sum order by position, variation, exposed_on");

test("what a refresh has stored has no difference", async () => {
  expect(await check()).toEqual({ experiment: "page", people: 20, wrong_people: 0, sums: 12, wrong_sums: 0 });
  expect((await check(", most_people => 7"))["people"]).toBe(7);
});

test("exposures and sums that were changed by a statement are repaired", async () => {
  const before = await sums();
  await database.query("update experiment.exposure set outcomes = '{0}' where person_id % 5 = 0");
  await database.query("update experiment.day_sum set people = people + 1 where position = -1 and variation = 0");
  const found = await check();
  expect(found["wrong_people"]).toBe(4);
  expect(found["wrong_sums"]).toBeGreaterThan(3);
  expect((await check())["wrong_sums"]).toBe(0);
  await refresh(database);
  expect(await check()).toMatchObject({ wrong_people: 0, wrong_sums: 0 });
  expect(await sums()).toEqual(before);
});

test("people who are queued are about to change, and do not differ", async () => {
  await send(database, [
    {
      person: "person 1",
      event: "Experiment Viewed",
      day: 5.5,
      properties: { experiment_id: "page", variation_id: "control" },
    },
  ]);
  expect(await check()).toMatchObject({ wrong_people: 0, wrong_sums: 0 });
  await refresh(database);
  expect(await database.value("select multiple::int from experiment.health('page')")).toBe(1);
});

test("admins and workers check; bad input names the value", async () => {
  for (const role of ["insights_admin", "insights_worker"]) {
    await database.as(role, {}, async (db) => {
      expect(await db.value("select (experiment.check_exposures('page')).people")).toBe(20);
    });
  }
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select experiment.check_exposures('page')")).toMatchObject({ code: "42501" });
  });
  expect(await database.rejects("select experiment.check_exposures('pag')")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select experiment.check_exposures('page', 0)")).toMatchObject({ code: "CF001" });
});
