import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

/** Stores durations, in seconds, at a time. */
const store = (db: Queries, operation: string, durations: readonly number[], at: string, messages = 0) =>
  db.query(
    `insert into monitor.latency (hour_at, operation, counts, failures, messages, seconds)
     select
       date_trunc('hour', $3::timestamptz, 'UTC'), $1,
       array(
         select count(taken.bucket)
         from generate_series(0, 37) as bucket
         left join (
           select (select count(*) from unnest(common.duration_bounds()) as bound where bound < duration) as bucket
           from unnest($2::float8[]) as duration
         ) as taken using (bucket)
         group by bucket
         order by bucket
       ),
       1, $4, (select sum(duration) from unnest($2::float8[]) as duration)`,
    [operation, durations, at, messages],
  );

const next = generator(13);
const normal = (): number => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next());

test.each([
  ["log-normal", () => 0.02 * Math.exp(normal())],
  ["uniform", () => 0.001 + next() * 3],
  ["in two groups", () => (next() < 0.8 ? 0.004 : 2) * (0.9 + 0.2 * next())],
  ["all equal", () => 0.25],
  ["very short", () => next() * 0.0004],
])("quantiles of durations that are %s are in the bucket of the true value", async (_name, draw) => {
  await database.as("postgres", {}, async (db) => {
    const durations = Array.from({ length: 4000 }, draw);
    await store(db, "recommendForMe", durations, "2026-03-02T10:20:00Z");
    const [row] = await db.rows<Record<string, number>>(
      `select
         calls::int, mean_ms, p50_ms, p90_ms, p99_ms, true_ms[1] as true_p50, true_ms[2] as true_p90, true_ms[3] as true_p99
       from monitor.latencies('2026-03-02', '2026-03-03')
       cross join (
         select percentile_disc(array[0.5, 0.9, 0.99]) within group (order by 1000 * duration) as true_ms
         from unnest($1::float8[]) as duration
       ) as drawn`,
      [durations],
    );
    expect(row?.["calls"]).toBe(4000);
    expect(row?.["mean_ms"]).toBeCloseTo((1000 * durations.reduce((sum, one) => sum + one, 0)) / 4000, 6);
    for (const name of ["p50", "p90", "p99"]) {
      const [estimate, truth] = [row?.[`${name}_ms`] ?? Number.NaN, row?.[`true_${name}`] ?? Number.NaN];
      // Below the first bound there is no lower one.
      if (truth < 0.5) expect(estimate).toBeLessThanOrEqual(0.5);
      else {
        expect(estimate / truth).toBeLessThan(Math.SQRT2 + 1e-9);
        expect(truth / estimate).toBeLessThan(Math.SQRT2 + 1e-9);
      }
    }
  });
});

test("by operation, hour and day, with the cost of a message", async () => {
  await database.as("insights_admin", {}, async (db) => {
    await db.query("reset role");
    await store(db, "trackIngest", [0.1, 0.3], "2026-03-02T10:20:00Z", 40);
    await store(db, "trackIngest", [0.6], "2026-03-02T11:59:59Z", 10);
    await store(db, "/healthz", [0.002], "2026-03-03T00:00:00Z");
    await db.query("set local role insights_admin");
    const read = (parameters: string): Promise<object[]> =>
      db.rows(
        `select to_char(starts_at at time zone 'UTC', 'DD HH24') as at, operation, calls::int, failures::int, messages::int,
           round(mean_ms::numeric, 6)::float8 as mean, round(ms_per_message::numeric, 6)::float8 as per_message
         from monitor.latencies('2026-03-02', '2026-03-04', ${parameters})`,
      );
    const ingest = { operation: "trackIngest", calls: 3, failures: 2, messages: 50, per_message: 20 };
    const healthz = { operation: "/healthz", calls: 1, failures: 1, messages: 0, mean: 2, per_message: null };
    expect(await read("'operation'")).toMatchObject([
      { ...ingest, at: null },
      { ...healthz, at: null },
    ]);
    expect(await read("'hour'")).toEqual([
      { at: "02 10", operation: null, calls: 2, failures: 1, messages: 40, mean: 200, per_message: 10 },
      { at: "02 11", operation: null, calls: 1, failures: 1, messages: 10, mean: 600, per_message: 60 },
      { ...healthz, at: "03 00", operation: null },
    ]);
    expect(await read("'day', 'trackIngest'")).toMatchObject([{ ...ingest, at: "02 00", operation: null }]);
    // Hours that begin in the period.
    expect(await db.value("select sum(calls)::int from monitor.latencies('2026-03-02 10:30Z', '2026-03-03Z')")).toBe(1);
    expect(await db.value("select count(*)::int from monitor.latencies()")).toBe(0);
    // The session's settings change nothing.
    await db.query("set local timezone to 'Asia/Kathmandu'");
    expect(await read("'day', 'trackIngest'")).toMatchObject([{ ...ingest, at: "02 00", operation: null }]);
  });
});

test("a duration above all bounds counts as the last bound", async () => {
  await database.as("postgres", {}, async (db) => {
    await store(db, "trackIngest", [500, 1000], "2026-03-02T10:20:00Z");
    expect(await db.value("select p99_ms from monitor.latencies('2026-03-02', '2026-03-03')")).toBe(131_072);
  });
});

test.each([
  ["until => null", "the period is from null until null"],
  ["'2026-03-02', '2026-03-02'", "the period is from 2026-03-02 00:00:00+00 until 2026-03-02 00:00:00+00"],
  ["by => 'week'", 'by is "week"'],
  ["by => null", "by is null"],
  [`operation => '${"x".repeat(101)}'`, `operation is "${"x".repeat(100)}"`],
])("%s is refused", async (parameters, message) => {
  const error = await database.rejects(`select from monitor.latencies(${parameters})`);
  expect(error.code).toBe("CF001");
  expect(error.message.startsWith(message)).toBe(true);
});

test("those who may read them", async () => {
  expect(await rolesThatMay(database, "select from monitor.latencies()")).toEqual(["admin", "worker"]);
  await database.as("insights_analyst", {}, async (db) => {
    expect(await db.rejects("select from monitor.latency")).toMatchObject({ code: "42501" });
  });
});
