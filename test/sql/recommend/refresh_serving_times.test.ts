import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const add = (hours: number, calls: number) =>
  database.query(
    `insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds)
     select date_trunc('hour', now(), 'UTC') - $1 * interval '1 hour', 'serve_me', 'course', 10, 0.0045
     from generate_series(1, $2)`,
    [hours, calls],
  );
const counted = () =>
  database.rows("select counts[8]::int as calls, items::int from recommend.serving_time order by hour_at");

test("counts calls once, in steps, and deletes what is older than it is kept for", async () => {
  await add(0, 7);
  expect(await database.value("select recommend.refresh_serving_times(3)::int")).toBe(3);
  expect(await database.value("select recommend.refresh_serving_times(3)::int")).toBe(3);
  expect(await database.value("select recommend.refresh_serving_times(3)::int")).toBe(1);
  expect(await database.value("select recommend.refresh_serving_times(3)::int")).toBe(0);
  expect(await counted()).toEqual([{ calls: 7, items: 70 }]);

  await add(24 * 399, 2);
  await add(24 * 401, 2);
  expect(await database.value("select recommend.refresh_serving_times()::int")).toBe(4);
  await database.query("select recommend.refresh_serving_times()");
  expect(await counted()).toEqual([
    { calls: 2, items: 20 },
    { calls: 7, items: 70 },
  ]);
  await database.query("select privacy.set_retention('serving_times', '30 days')");
  await database.query("select recommend.refresh_serving_times()");
  expect(await counted()).toEqual([{ calls: 7, items: 70 }]);
});

test("bad input is refused, and it is for workers", async () => {
  for (const most of ["null", "0", "-1"])
    expect((await database.rejects(`select recommend.refresh_serving_times(${most})`)).code).toBe("CF001");
  expect(await rolesThatMay(database, "select recommend.refresh_serving_times()")).toEqual(["worker"]);
});

test.runIf(database.native)("a call is not waited for, and two refreshes count each call once", async () => {
  await database.query("delete from recommend.serving_time");
  await add(0, 50);
  const [open, one, other] = await Promise.all([1, 2, 3].map(() => database.pool.connect()));
  if (open === undefined || one === undefined || other === undefined) throw new Error("no connection");
  try {
    await open.query("begin");
    await open.query(
      `insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds)
       values (date_trunc('hour', now(), 'UTC'), 'serve_me', 'course', 10, 0.0045)`,
    );
    for (const client of [one, other]) await client.query("set lock_timeout = '5s'");
    await one.query("begin");
    const first = await one.query("select recommend.refresh_serving_times(20)::int as calls");
    const second = other.query("select recommend.refresh_serving_times(100)::int as calls");
    await one.query("commit");
    expect([first.rows[0].calls, (await second).rows[0].calls]).toEqual([20, 30]);
    await open.query("commit");
    expect(await database.value("select recommend.refresh_serving_times()::int")).toBe(1);
    expect(await counted()).toEqual([{ calls: 51, items: 510 }]);
  } finally {
    for (const client of [open, one, other]) {
      await client.query("rollback");
      await client.query("reset lock_timeout");
      client.release();
    }
  }
});
