import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { refresh } from "../../track/messages.ts";
import { at, send, start, viewed } from "../experiments.ts";

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
  expect(await check()).toEqual({ experiment: "page", people: 20, wrong_people: 0, sums: 14, wrong_sums: 0 });
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

test("names with quotes, and formats of the session, change no outcome", async () => {
  const name = `it's a "value" \\ 100 %s $1`;
  await send(database, [{ person: "zoe", event: "Bought", day: 1 }]);
  await database.query("select experiment.define_metric('spent', 'mean', '{Bought}', value_property => $1)", [name]);
  await database.query(
    `select experiment.define_metric('named', 'count', '{Bought}', property_filter => $1,
       delay => '1 hour', period => '2 days 3 hours')`,
    [JSON.stringify({ [name]: { $gt: 2 } })],
  );
  await start(database, { key: "quotes", goals: ["spent", "named"], before_period: "1 day 30 minutes" }, 5);
  await send(database, [
    viewed("ada", "quotes", 1, 6),
    { person: "ada", event: "Bought", day: 5.5, properties: { [name]: 7 } },
    { person: "ada", event: "Bought", day: 6.01, properties: { [name]: 5 } },
    { person: "ada", event: "Bought", day: 6.5, properties: { [name]: 1.5 } },
    { person: "ada", event: "Bought", day: 7, properties: { [name]: 3 } },
  ]);
  await refresh(database);
  const outcomes = "select outcomes::text, outcomes_before::text from experiment.exposure where exposed_on = $1";
  expect(await database.rows(outcomes, [at(6).slice(0, 10)])).toContainEqual({
    outcomes: "{9.5,1}",
    outcomes_before: "{7,1}",
  });
  for (const style of ["iso_8601", "sql_standard", "postgres_verbose"]) {
    for (const dates of ["German", "SQL, DMY", "Postgres, MDY"]) {
      await database.query(
        `set intervalstyle to ${style}; set datestyle to '${dates}'; set timezone to 'Asia/Kathmandu'`,
      );
      const found = await database.rows("select * from experiment.check_exposures('quotes')");
      await database.query("reset intervalstyle; reset datestyle; reset timezone");
      expect(found).toMatchObject([{ people: 1, wrong_people: 0, wrong_sums: 0 }]);
    }
  }
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
