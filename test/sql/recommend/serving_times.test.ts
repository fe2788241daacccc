import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
await trainOnHistory(database);

interface Duration {
  name: string | null;
  call_count: number;
  item_count: number;
  mean_ms: number;
  p50_ms: number;
  p95_ms: number;
  p99_ms: number;
  ms_per_item: number | null;
}

const times = async (db: Queries, call = ""): Promise<Duration[]> =>
  (await db.rows<{ row: Duration }>(`select to_jsonb(r) as row from recommend.serving_times(${call}) as r`)).map(
    ({ row }) => row,
  );
/** Calls as they are stored, in the hour of a time. */
const call = (db: Queries, at: string, name: string, version: number | null, items: number, seconds: number) =>
  db.query(
    `insert into recommend.serving_call (hour_at, function_name, kind, model_id, item_count, seconds)
     values (
       date_trunc('hour', $1::timestamptz, 'UTC'), $2, 'course', (select model_id from ml.model where version = $3), $4, $5
     )`,
    [at, name, version, items, seconds],
  );
const become = async (db: Queries, role: string, person = ""): Promise<void> => {
  await db.query("select set_config('role', $1, true), set_config('insights.person', $2, true)", [role, person]);
  await db.query("select track.sign_in()");
};

test("each call of a function that serves is measured, with its model, also where no row is recorded", () =>
  database.as("postgres", {}, async (db) => {
    await become(db, "insights_learner", "p0");
    await db.query("select recommend.serve_me(3)");
    await db.query("select track.record_my_consent('personalization', false)");
    await db.query("select recommend.serve_me(4)");
    await db.query("select recommend.serve_me(only_items => '{}')");
    await become(db, "insights_visitor");
    await db.query("select recommend.serve_items('{art-1}', 5)");
    await become(db, "insights_worker");
    await db.query("select recommend.serve_person('a newcomer', 2)");
    await db.query("select recommend.for_person('p0', 2)");
    const measured = (rows: Duration[]) =>
      rows.map(({ name, call_count, item_count }) => ({ name, call_count, item_count }));
    expect(measured(await times(db))).toEqual([
      { name: "serve_items", call_count: 1, item_count: 5 },
      { name: "serve_me", call_count: 3, item_count: 7 },
      { name: "serve_person", call_count: 1, item_count: 2 },
    ]);
    expect(measured(await times(db, "by => 'model'")).map(({ name, item_count }) => [name, item_count])).toEqual([
      ["1", expect.any(Number)],
      [null, expect.any(Number)],
    ]);
    for (const row of await times(db)) {
      expect(row.mean_ms).toBeGreaterThan(0.1);
      expect(row.mean_ms).toBeLessThan(60_000);
      expect(row.ms_per_item).toBeCloseTo((row.mean_ms * row.call_count) / row.item_count, 9);
    }
    // Those for no person, without consent or without a row are of no person, and the durations are of none.
    await become(db, "postgres");
    expect(
      await db.rows(
        `select item_count, person_id = track.find_person('p0') as is_hers, identity_id is null as is_without, serving_ids is null as is_bare
         from recommend.serving_call order by item_count`,
      ),
    ).toEqual([
      { item_count: 0, is_hers: null, is_without: true, is_bare: true },
      { item_count: 2, is_hers: null, is_without: true, is_bare: true },
      { item_count: 3, is_hers: true, is_without: false, is_bare: false },
      { item_count: 4, is_hers: null, is_without: true, is_bare: true },
      { item_count: 5, is_hers: null, is_without: true, is_bare: true },
    ]);
    expect(
      await db.value(
        `select string_agg(attname, ' ' order by attnum) from pg_attribute
         where attrelid = 'recommend.serving_time'::regclass and attnum > 0`,
      ),
    ).toBe("hour_at function_name kind model_id counts items seconds");
  }));

test("the answer is the same before and after the calls are counted, in any number of steps", () =>
  database.as("postgres", {}, async (db) => {
    const durations = [0.0001, 0.0005, 0.002, 0.0021, 0.004, 0.3, 200];
    for (const [n, seconds] of durations.entries()) {
      await call(db, "2026-01-05T10:59:00Z", "serve_me", 1, 10, seconds);
      await call(db, n % 2 === 0 ? "2026-01-05T11:00:00Z" : "2026-01-06T00:00:00Z", "serve_person", null, 0, seconds);
    }
    const all = async () => {
      const answers: Duration[][] = [];
      for (const by of ["function", "model", "hour", "day"])
        answers.push(await times(db, `'2026-01-01Z', '2026-02-01Z', '${by}'`));
      return answers;
    };
    const before = await all();
    const rounded = (answers: Duration[][]) =>
      JSON.parse(JSON.stringify(answers), (_, value) =>
        typeof value === "number" ? Number(value.toPrecision(9)) : value,
      );
    expect(before.map((rows) => rows.map(({ name, call_count }) => [name, call_count]))).toEqual([
      [
        ["serve_me", 7],
        ["serve_person", 7],
      ],
      [
        ["1", 7],
        [null, 7],
      ],
      [
        ["2026-01-05 10:00", 7],
        ["2026-01-05 11:00", 4],
        ["2026-01-06 00:00", 3],
      ],
      [
        ["2026-01-05", 11],
        ["2026-01-06", 3],
      ],
    ]);
    const total = durations.reduce((sum, seconds) => sum + seconds);
    expect(before[0]?.[0]?.mean_ms).toBeCloseTo((1000 * total) / 7, 6);
    expect(before[0]?.[0]?.ms_per_item).toBeCloseTo((1000 * total) / 70, 6);
    expect(before[0]?.[1]?.ms_per_item).toBe(null);
    // The fourth of seven, within its bucket, and the longest is beyond the last bound.
    expect(before[0]?.[0]?.p50_ms).toBeGreaterThanOrEqual(2 / Math.SQRT2);
    expect(before[0]?.[0]?.p50_ms).toBeLessThanOrEqual(2.1 * Math.SQRT2);
    expect(before[0]?.[0]?.p99_ms).toBeCloseTo(131_072, 6);
    expect(await db.value("select recommend.collect_servings(5)")).toBe(5);
    expect(rounded(await all())).toEqual(rounded(before));
    await become(db, "insights_worker");
    await db.query("select track.refresh()");
    expect(await db.value("select count(*)::int from recommend.serving_call")).toBe(0);
    expect(rounded(await all())).toEqual(rounded(before));
    await become(db, "postgres");
    await call(db, "2026-01-05T10:00:00Z", "serve_me", 1, 1, 1);
    await become(db, "insights_worker");
    await db.query("select track.refresh()");
    expect(
      await db.rows(
        `select counts[cardinality(counts)]::int as longest, (select sum(one)::int from unnest(counts) as one) as calls,
           items::int from recommend.serving_time where function_name = 'serve_me'`,
      ),
    ).toEqual([{ longest: 1, calls: 8, items: 71 }]);
  }));

test("a call of exactly the length of a bound is counted at that bound, before and after it is counted", () =>
  database.as("postgres", {}, async (db) => {
    await db.query(
      `insert into recommend.serving_call (hour_at, function_name, kind, item_count, seconds)
       select '2026-03-05Z', 'serve_me', 'course', 1, (common.duration_bounds())[9]`,
    );
    const measure = async () => (await times(db, "'2026-03-05Z', '2026-03-06Z'"))[0]?.p99_ms ?? 0;
    const before = await measure();
    // The ninth bound is 8 ms.
    expect(before).toBeLessThanOrEqual(8);
    expect(before).toBeGreaterThan(8 / Math.SQRT2);
    await db.query("select recommend.collect_servings(2000)");
    expect(await measure()).toBe(before);
    expect(await db.value("select counts[9]::int from recommend.serving_time where hour_at = '2026-03-05Z'")).toBe(1);
  }));

test("bad input is refused", async () => {
  for (const [call, error] of [
    ["by => 'person'", 'CF001 by is "person"'],
    ["by => null", "CF001 by is null"],
    ["since => null", "CF001 the period is from null"],
    ["kind => 'curse'", 'CF002 there is no item of kind "curse"'],
  ] as const) {
    const { code, message, hint } = await database.rejects(`select * from recommend.serving_times(${call})`);
    expect(`${code} ${message}`.startsWith(error), message).toBe(true);
    expect(hint).toBeTruthy();
  }
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select recommend.serving_times()")).toEqual(["admin", "worker"]);
  expect(await rolesThatMay(database, "select seconds from recommend.serving_call")).toEqual([
    "learner",
    "instructor",
    "admin",
    "worker",
  ]);
  // Her own, until the next refresh.
  expect(await rolesThatMay(database, "select serving_ids from recommend.serving_call")).toEqual([
    "learner",
    "instructor",
  ]);
  expect(await rolesThatMay(database, "select from recommend.serving_time")).toEqual(["admin", "worker"]);
});
