import { beforeAll, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLists, makeWorld, week } from "./lists.ts";

const database = await testDatabase();
const people = 120;

type Row = Record<string, number | string | null>;

const report = (role: string, by: string, since = 0, until = 4): Promise<Row[]> =>
  database.as(role, {}, async (db) =>
    (
      await db.rows<{ row: Row }>("select to_jsonb(r) as row from monitor.recommendation_report($1, $2, $3) as r", [
        week(since),
        week(until),
        by,
      ])
    ).map(({ row }) => row),
  );

beforeAll(async () => {
  await makeWorld(database, people);
  await makeLists(database, { people, weeks: 4, seed: 0.6 });
  // The last two weeks get a tenth of the clicks; half of the people finish what they clicked.
  await database.query(
    "update recommend.impression set clicked_at = null where listed_at >= $1 and person_id % 10 > 0",
    [week(2)],
  );
  await database.query("update recommend.impression set completed_at = clicked_at where person_id % 2 = 0");
  await database.query(
    `insert into ml.deployment (project_id, model_id, strategy, deployed_at)
     select project_id, model_id, 'manual', case version when 1 then $1::timestamptz else $2::timestamptz end
     from ml.model order by version`,
    [week(0), week(2)],
  );
  await database.query(
    "update ml.model set duration = version * interval '3 seconds', trained_at = case version when 1 then $1::timestamptz else $2 end",
    [week(0.5), week(2)],
  );
  await database.query(
    `insert into recommend.serving_time (hour_at, function_name, kind, model_id, counts, items, seconds)
     select at, 'serve_me', given.kind, model_id, array_fill(0::bigint, array[place]) || calls
       || array_fill(0::bigint, array[cardinality(common.duration_bounds()) - place]), 500, seconds
     from (
       values ($1::timestamptz, 'course', 1, 8, 50::bigint, 0.4), ($2, 'course', 2, 12, 49, 1.5), ($1, 'lesson', 1, 20, 900, 90)
     ) as given (at, kind, version, place, calls, seconds)
     join ml.model using (version)`,
    [week(0.5), week(2.5)],
  );
  // A call that is not counted yet.
  await database.query(
    `insert into recommend.serving_call (hour_at, function_name, kind, model_id, seconds, item_count)
     select $1, 'serve_me', 'course', model_id, (common.duration_bounds())[12] * 1.2, 10 from ml.model where version = 2`,
    [week(2.5)],
  );
  await database.query("analyze recommend.impression");
});

test("before and after a deployment: cost beside relevance, with the change", async () => {
  const [before, after, ...others] = await report("insights_admin", "deployment");
  expect(others).toEqual([]);
  expect(before).toMatchObject({
    person_count: people,
    list_count: 2 * people,
    training_count: 1,
    training_seconds: 3,
  });
  expect(after).toMatchObject({ list_count: 2 * people, training_count: 1, training_seconds: 6 });
  expect(before?.["change"]).toBeNull();
  const change = Number(after?.["click_rate"]) - Number(before?.["click_rate"]);
  expect(after?.["change"]).toBeCloseTo(change, 12);
  expect(change).toBeLessThan(-0.05);
  expect(Number(after?.["change_lower"])).toBeLessThan(change);
  expect(Number(after?.["change_upper"])).toBeLessThan(0);
  expect(Number(after?.["list_p50_ms"])).toBeCloseTo(4 * Number(before?.["list_p50_ms"]), 6);
  expect(before?.["recommendation_ms"]).toBeCloseTo(400 / (2 * people * 10), 12);
  const bytes = await database.value<number>("select pg_total_relation_size('recommend.impression')::float8");
  expect(before?.["recommendation_bytes"]).toBeCloseTo(bytes / (4 * people * 10), 6);
});

test("the weeks are a trend, versions are beside each other", async () => {
  const weeks = await report("insights_admin", "week");
  expect(weeks.map((row) => [row["list_count"], row["list_p50_ms"] !== null])).toEqual([
    [people, true],
    [people, false],
    [people, true],
    [people, false],
  ]);
  expect(weeks.map((row) => Number(row["change"] ?? 0) < -0.05)).toEqual([false, false, true, false]);
  const versions = await report("insights_admin", "model");
  expect(versions.map((row) => [row["name"], row["training_seconds"]])).toEqual([
    ["1", 3],
    ["2", 6],
  ]);
  // Each version has the durations of its own lists, of the kind of the report.
  expect(Number(versions[1]?.["list_p50_ms"])).toBeCloseTo(4 * Number(versions[0]?.["list_p50_ms"]), 6);
  expect(versions[0]?.["list_p50_ms"]).toBe(weeks[0]?.["list_p50_ms"]);
  expect(versions[0]?.["recommendation_ms"]).toBeCloseTo(400 / Number(versions[0]?.["served_count"]), 12);
  expect((await report("insights_analyst", "model")).map((row) => row["list_p50_ms"] !== null)).toEqual([true, true]);
  const [all] = await report("insights_admin", "all");
  expect(all).toMatchObject({ list_count: 4 * people, training_count: 2, training_seconds: 9 });
});

test("analysts read what relevance shows them", async () => {
  for (const by of ["week", "model", "deployment", "all"]) {
    const shown = await report("insights_analyst", by);
    expect(shown.length).toBeGreaterThan(0);
    for (const row of shown) expect(Number(row["person_count"]) % 5).toBe(0);
  }
  expect(await rolesThatMay(database, "select monitor._list_durations('{}', '{}', null, false)")).toEqual([
    "admin",
    "worker",
  ]);
  const before = await report("insights_analyst", "week");
  for (const row of before) {
    const ms = Number(row["list_p50_ms"]);
    expect(ms).toBe(Number(ms.toPrecision(2)));
  }
  expect(before.some((row) => row["list_p50_ms"] !== null)).toBe(true);
  await database.query(
    `insert into recommend.impression (person_id, serving_key, model_id, item_id, rank, basis, listed_at, is_served, clicked_at)
     select 1 + n % 4, gen_random_uuid(), model_id, item_id, 1, 'model', $1::timestamptz, true, $1::timestamptz
     from generate_series(1, 40) as n join ml.model on version = 1 join track.item on external_id = 'course 1'`,
    [week(4.5)],
  );
  expect((await report("insights_analyst", "week", 0, 5)).map((row) => row["starts_at"])).toEqual(
    before.map((row) => row["starts_at"]),
  );
});

test("invalid arguments are refused", async () => {
  expect(await database.rejects("select monitor.recommendation_report(by => 'curse')")).toMatchObject({
    code: "CF001",
    message: 'by is "curse"',
  });
  expect(await rolesThatMay(database, "select monitor.recommendation_report()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
