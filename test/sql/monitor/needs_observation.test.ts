import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query("update monitor.setting set longest_observation = '1 hour'");

test("an observation is needed when the interval of a probe has passed", async () => {
  const needed = () => database.value("select monitor.needs_observation()");
  expect(await needed()).toBe(true);
  await database.query("select monitor.observe()");
  expect(await needed()).toBe(false);
  // Half a minute early: the minutes of the schedule begin some seconds late.
  await database.query(
    "update monitor.probe_state set started_at = now() - interval '4 minutes 20 seconds' where probe = 'queue'",
  );
  expect(await needed()).toBe(false);
  await database.query(
    "update monitor.probe_state set started_at = now() - interval '4 minutes 40 seconds' where probe = 'queue'",
  );
  expect(await needed()).toBe(true);
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.needs_observation()")).toEqual(["worker"]);
});
