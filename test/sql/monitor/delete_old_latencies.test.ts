import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("old hours are deleted, and processes that no longer write", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      insert into monitor.latency (hour_at, operation, counts, failures, messages, seconds)
      select now() - age, 'trackIngest', array_fill(0, array[38]), 0, 0, 0
      from unnest(array['399 days', '401 days', '1 hour']::interval[]) as age
    `);
    await db.query(`
      insert into monitor.latency_writer (writer, flush, written_at)
      values (gen_random_uuid(), 1, now() - interval '2 days'), (gen_random_uuid(), 2, now() - interval '1 minute')
    `);
    await db.query("set local role insights_worker");
    expect(await db.value("select monitor.delete_old_latencies()::int")).toBe(1);
    expect(await db.value("select monitor.delete_old_latencies('2 days')::int")).toBe(1);
    expect(await db.value("select count(*)::int from monitor.latency")).toBe(1);
    await db.query("reset role");
    expect(await db.rows("select flush::int from monitor.latency_writer")).toEqual([{ flush: 2 }]);
  });
});

test.each(["null", "'23:59:59'", "'-90 days'", "'100000000 years'"])("older_than %s is refused", async (value) => {
  expect(await database.rejects(`select monitor.delete_old_latencies(${value})`)).toMatchObject({ code: "CF001" });
});

test("only workers may delete them", async () => {
  expect(await rolesThatMay(database, "select monitor.delete_old_latencies()")).toEqual(["worker"]);
});
