import { setTimeout as wait } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import { createPool } from "../../src/database/connect.ts";
import { startHeartbeat } from "../../src/worker/heartbeat.ts";
import { asDatabase } from "../support/api.ts";
import { testDatabase } from "../support/database.ts";

const database = await testDatabase();
const errors = vi.spyOn(console, "error").mockImplementation(() => {});

const workers = () =>
  database.rows<{ seen_at: Date; stopped: boolean; version: string }>(
    "select seen_at, stopped_at is not null as stopped, version from monitor.worker order by started_at",
  );

test("a worker sends heartbeats until it is stopped", async () => {
  const pool = createPool(asDatabase(database), 2);
  const heartbeat = startHeartbeat(pool, 50);
  await vi.waitFor(async () => expect(await workers()).toHaveLength(1), 20_000);
  const [first] = await workers();
  expect(first).toMatchObject({ stopped: false, version: expect.stringMatching(/^\d+\.\d+/) });
  await vi.waitFor(async () => expect((await workers())[0]?.seen_at).not.toEqual(first?.seen_at), 20_000);
  await heartbeat.stop();
  expect(await workers()).toMatchObject([{ stopped: true }]);
  const [last] = await workers();
  await wait(200);
  expect(await workers()).toEqual([last]);
  await pool.end();
});

test("a database that refuses the signs is reported once, and the worker stops all the same", async () => {
  await database.query("revoke execute on function monitor.beat(text, text) from insights_worker");
  errors.mockClear();
  const pool = createPool(asDatabase(database), 2);
  const heartbeat = startHeartbeat(pool, 20);
  // Workers of other tests of this process may report errors, too.
  const reported = () => errors.mock.calls.filter(([line]) => String(line).includes("heartbeat could not be recorded"));
  await vi.waitFor(() => expect(reported()).toHaveLength(1), 20_000);
  await wait(200);
  expect(reported()).toHaveLength(1);
  // Granted again, it continues.
  await database.query("grant execute on function monitor.beat(text, text) to insights_worker");
  await vi.waitFor(async () => expect(await workers()).toHaveLength(2), 20_000);
  await heartbeat.stop();
  await pool.end();
});

test("a pool without a free connection does not block the stop", async () => {
  const pool = createPool(asDatabase(database), 1);
  const client = await pool.connect();
  const heartbeat = startHeartbeat(pool, 20);
  const begin = performance.now();
  await heartbeat.stop();
  expect(performance.now() - begin).toBeLessThan(60_000);
  client.release();
  await pool.end();
});
