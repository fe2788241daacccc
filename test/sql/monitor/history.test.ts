import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

/** Three samples an hour from 08:00, of a gauge of two tasks and a counter, which began at 0 again at 09:40. */
beforeAll(async () => {
  await database.query(`
    insert into monitor.series (metric, labels, first_seen_at, probe, value, measured_at) overriding system value
    select metric, labels::jsonb, '2026-03-02 08:00Z', 'queue', 0, '2026-03-02 10:40Z'
    from (values
      ('insights_queue_waiting_jobs', '{"task": "refresh"}'),
      ('insights_queue_waiting_jobs', '{"task": "train"}'),
      ('insights_database_deadlocks_total', '{}')
    ) as series (metric, labels)
    order by 1 desc, 2;
    insert into monitor.sample (sampled_at, measured)
    select time, array[n, case when n % 2 = 0 then 100 + n end, case when time >= '2026-03-02 09:40Z' then n - 4 else n * 10 end]
    from generate_series(0, 8) as n
    cross join lateral (select timestamptz '2026-03-02 08:00Z' + n * interval '20 minutes' as time) as sampled;
  `);
});

const history = (given: string) => database.rows(`select * from monitor.history(${given})`);
const day = "'2026-03-02 00:00Z', '2026-03-03 00:00Z'";
const at = (hour: string) => new Date(`2026-03-02T${hour}:00Z`);

test("the mean, least and greatest of the samples of each bucket, without those that were not measured", async () => {
  expect(await history(`'insights_queue_waiting_jobs', '{"task": "train"}', ${day}`)).toEqual([
    { labels: { task: "train" }, started_at: at("08:00"), value: 101, least: 100, greatest: 102, samples: 2 },
    { labels: { task: "train" }, started_at: at("09:00"), value: 104, least: 104, greatest: 104, samples: 1 },
    { labels: { task: "train" }, started_at: at("10:00"), value: 107, least: 106, greatest: 108, samples: 2 },
  ]);
  expect(await history(`'insights_queue_waiting_jobs', '{}', ${day}, '1 day'`)).toMatchObject([
    { labels: { task: "refresh" }, value: 4, samples: 9 },
    { labels: { task: "train" }, value: 104, samples: 5 },
  ]);
});

test("the rise of a counter, also when it begins at 0 again", async () => {
  const rises = (since: string) =>
    database.rows<{ value: number | null }>(
      `select value from monitor.history('insights_database_deadlocks_total', since => '${since}', until => '2026-03-03 00:00Z')`,
    );
  // 0, 10, 20 | 30, 40, 1 | 2, 3, 4
  expect(await rises("2026-03-02 00:00Z")).toEqual([{ value: 20 }, { value: 21 }, { value: 3 }]);
  // From the sample before the period.
  expect(await rises("2026-03-02 09:00Z")).toEqual([{ value: 21 }, { value: 3 }]);
  expect(await rises("2026-03-02 08:00Z")).toEqual([{ value: 20 }, { value: 21 }, { value: 3 }]);
});

test("a period without samples is empty", async () => {
  expect(await history("'insights_queue_waiting_jobs', '{}', '2020-01-01', '2020-01-02'")).toEqual([]);
  expect(await history(`'insights_rollup_trust', '{}', ${day}`)).toEqual([]);
});

describe("is refused:", () => {
  test.each([
    ["'insights_queue_waiting_job'", "CF002", 'Did you mean "insights_queue_waiting_jobs"?'],
    ["null", "CF002", "lists the metrics"],
    ["repeat('x', 100000)", "CF002", "lists the metrics"],
    ["'insights_workers', '[]'", "CF001", "Give an object"],
    ["'insights_workers', null", "CF001", "Give an object"],
    ["'insights_workers', '{}', now(), now()", "CF001", "a later one"],
    ["'insights_workers', bucket => '1 second'", "CF001", "from a minute"],
    ["'insights_workers', bucket => '1 month'", "CF001", "not in months"],
    ["'insights_workers', bucket => null", "CF001", "from a minute"],
    ["'insights_workers', since => '-infinity'", "CF", ""],
    ["'insights_queue_waiting_jobs', since => '1990-01-01', bucket => '1 minute'", "CF008", "Give a longer bucket"],
  ])("%s", async (given, code, hint) => {
    const error = await database.rejects(`select * from monitor.history(${given})`);
    expect(error.code?.startsWith(code)).toBe(true);
    expect(error.hint).toContain(hint);
  });
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from monitor.history('insights_workers')")).toEqual([
    "admin",
    "worker",
  ]);
});
