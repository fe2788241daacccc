import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("old runs go, but the latest of each task stays", async () => {
  await database.query(`
    insert into monitor.run (task, started_at)
    values
      ('refresh', now() - interval '200 days'),
      ('refresh', now() - interval '91 days'),
      ('refresh', now() - interval '89 days'),
      ('vacuum', now() - interval '300 days'),
      ('train', now() - interval '300 days'),
      ('train', now() - interval '299 days')
  `);
  expect(await database.value("select monitor.delete_old_runs()::int")).toBe(3);
  expect(
    await database.rows(
      "select task, extract(day from now() - started_at)::int as days from monitor.run order by task",
    ),
  ).toEqual([
    { task: "refresh", days: 89 },
    { task: "train", days: 299 },
    { task: "vacuum", days: 300 },
  ]);
  expect(await database.value("select monitor.delete_old_runs()::int")).toBe(0);
});

test("less than a day is refused", async () => {
  expect(await database.rejects("select monitor.delete_old_runs('1 hour')")).toMatchObject({
    code: "CF001",
    message: "older_than is 01:00:00",
  });
});

test.each(["null", "'23:59:59'", "'-90 days'", "'100000000 years'"])(
  "older_than %s is refused with a hint",
  async (value) => {
    expect(await database.rejects(`select monitor.delete_old_runs(${value})`)).toMatchObject({
      code: "CF001",
      hint: "Give an interval from a day to 1000 years.",
    });
  },
);

test("is for workers", async () => {
  expect(await rolesThatMay(database, "select monitor.delete_old_runs()")).toEqual(["worker"]);
});
