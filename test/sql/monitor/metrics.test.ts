import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query("update monitor.setting set longest_observation = '1 hour'");

test("the latest values of all series, and the age of the observation", async () => {
  expect(await database.rows("select * from monitor.metrics()")).toEqual([]);
  await database.query("select monitor.observe()");
  const [size] = await database.rows("select * from monitor.metrics() where metric = 'insights_database_bytes'");
  expect(size).toMatchObject({ kind: "gauge", unit: "bytes", labels: {}, value: expect.any(Number) });
  const age = await database.value<number>(
    "select value from monitor.metrics() where metric = 'insights_observation_age_seconds'",
  );
  expect(age).toBeGreaterThan(0);
  // A clock was ahead: the age is that of the latest sample of the past.
  await database.query("insert into monitor.sample (sampled_at, measured) values (now() + interval '1 day', '{}')");
  expect(
    await database.value<number>(
      "select value from monitor.metrics() where metric = 'insights_observation_age_seconds'",
    ),
  ).toBeGreaterThan(age);
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from monitor.metrics()")).toEqual(["admin", "worker"]);
});
