import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query("update monitor.setting set longest_observation = '1 hour'");

test("the scheduled probes run, and their values are stored as one sample", async () => {
  const [observed] = await database.rows("select probes, failed, measured from monitor.observe()");
  const probes = await database.value<number>("select count(*)::int from monitor.probe");
  expect(observed).toMatchObject({ probes, failed: 0 });
  const [size] = await database.rows<{ sampled: number; latest: number }>(
    `select sample.measured[series_id] as sampled, series.value as latest
     from monitor.series cross join monitor.sample where metric = 'insights_database_bytes'`,
  );
  expect(size?.latest).toBeGreaterThan(1_000_000);
  expect(size?.sampled).toBe(size?.latest);
  // None is scheduled again before its time.
  expect(await database.rows("select sampled_at, probes from monitor.observe()")).toEqual([
    { sampled_at: null, probes: 0 },
  ]);
  expect(await database.value("select monitor.needs_observation()")).toBe(false);
});

test("an unknown probe is refused with the nearest name", async () => {
  expect(await database.rejects("select monitor.observe('{queu}')")).toMatchObject({
    code: "CF002",
    message: 'there is no probe "queu"',
    hint: expect.stringContaining('Did you mean "queue"?'),
  });
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.observe()")).toEqual(["worker"]);
});
