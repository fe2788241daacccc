import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("the first heartbeat records the start, the others the time", async () => {
  const state = async () =>
    (
      await database.rows(
        `select version, seen_at > started_at as later, stopped_at from monitor.worker where worker = 'host:1'`,
      )
    )[0];
  await database.query("select monitor.beat('host:1', '1.0')");
  expect(await state()).toEqual({ version: "1.0", later: false, stopped_at: null });
  await database.query("select monitor.beat('host:1', '1.0')");
  expect(await state()).toEqual({ version: "1.0", later: true, stopped_at: null });
});

test.each(["null, '1'", "'', '1'", "repeat('x', 201), '1'", "'host', null", "'host', repeat('1', 101)"])(
  "a worker %s is refused",
  async (given) => {
    expect(await database.rejects(`select monitor.beat(${given})`)).toMatchObject({ code: "CF001" });
  },
);

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.beat('x', '1')")).toEqual(["worker"]);
});
