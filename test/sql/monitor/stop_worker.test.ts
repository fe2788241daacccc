import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("a worker that stops is recorded, and no other", async () => {
  await database.query("select monitor.beat('one', '1'), monitor.beat('two', '1')");
  await database.query("select monitor.stop_worker('one'), monitor.stop_worker('three'), monitor.stop_worker(null)");
  expect(
    await database.rows("select worker, stopped_at = seen_at as stopped from monitor.worker order by worker"),
  ).toEqual([
    { worker: "one", stopped: true },
    { worker: "two", stopped: null },
  ]);
  // It was started again under the same name.
  await database.query("select monitor.beat('one', '1')");
  expect(await database.value("select stopped_at from monitor.worker where worker = 'one'")).toBeNull();
});

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.stop_worker('x')")).toEqual(["worker"]);
});
