import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import * as algebra from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLists, makeWorld, week } from "./lists.ts";

const database = await testDatabase();
const people = 120;
const weeks = 10;

interface Slope {
  figure: string;
  week_count: number;
  middle: number | null;
  slope: number | null;
  slope_lower: number | null;
  slope_upper: number | null;
  verdict: string;
}

const trend = async (role: string, since = 0, until = weeks): Promise<Map<string, Slope>> => {
  const rows = await database.as(role, {}, (db) =>
    db.rows<{ row: Slope }>("select to_jsonb(r) as row from monitor.recommendation_trend($1, $2) as r", [
      week(since),
      week(until),
    ]),
  );
  return new Map(rows.map(({ row }) => [row.figure, row]));
};

beforeAll(async () => {
  await makeWorld(database, people);
  await makeLists(database, { people, weeks, seed: 0.6 });
  // Clicks fall week by week, except in the seventh.
  await database.query(
    `update recommend.impression set clicked_at = null
     from (select $1::timestamptz as beginning) as given
     cross join lateral (select 1) as one
     where (person_id * 31 + rank * 17) % 20 < case floor(extract(epoch from listed_at - beginning) / 604800)::int
       when 6 then 0 else floor(extract(epoch from listed_at - beginning) / 604800)::int end`,
    [week(0)],
  );
});

test("the slope is the median of the slopes of all pairs of weeks of the report", async () => {
  const reported = await database.as("insights_admin", {}, (db) =>
    db.rows<{ click_rate: number; coverage: number }>(
      "select click_rate, coverage from monitor.recommendation_report($1, $2)",
      [week(0), week(weeks)],
    ),
  );
  expect(reported).toHaveLength(weeks);
  const trends = await trend("insights_admin");
  for (const name of ["click_rate", "coverage"] as const) {
    const values = reported.map((row) => row[name]);
    const slopes = values.flatMap((a, n) => values.slice(n + 1).map((b, m) => (b - a) / (m + 1))).sort((a, b) => a - b);
    expect(trends.get(name)?.slope).toBeCloseTo(slopes[22] ?? 9, 10);
    expect(trends.get(name)).toMatchObject({ week_count: weeks });
  }
  const clicks = trends.get("click_rate");
  expect(clicks?.verdict).toBe("falling");
  expect(clicks?.slope_lower).toBeLessThan(clicks?.slope ?? -9);
  expect(clicks?.slope_upper).toBeLessThan(0);
  // The one good week changes little.
  expect((clicks?.slope ?? 0) / (clicks?.middle ?? 1)).toBeLessThan(-0.04);
  expect(trends.get("gini")?.verdict).toBe("steady");
  expect(trends.get("list_p50_ms")).toMatchObject({ week_count: 0, slope: null, verdict: "unknown" });
});

test("weeks that the period cuts do not count, and few weeks have no interval", async () => {
  expect((await trend("insights_admin", 0.5, 4.5)).get("click_rate")).toMatchObject({
    week_count: 3,
    slope_lower: null,
    verdict: "unknown",
  });
});

test("analysts read the trend of what the report shows them", async () => {
  const shown = await trend("insights_analyst");
  // Numbers of clicks are rounded, so that the interval is wider.
  expect(shown.get("click_rate")).toMatchObject({ week_count: weeks });
  expect(shown.get("click_rate")?.slope).toBeLessThan(-0.003);
  expect(await rolesThatMay(database, "select monitor.recommendation_trend()")).toEqual(["analyst", "admin", "worker"]);
  expect(await database.rejects("select monitor.recommendation_trend(kind => 'curse')")).toMatchObject({
    code: "CF002",
  });
});

describe("the estimate of Theil and Sen", () => {
  const theilSen = (x: number[], y: number[]): Promise<{ slope: number; slope_lower: number; slope_upper: number }> =>
    database
      .rows<{ slope: number; slope_lower: number; slope_upper: number }>("select (monitor._theil_sen($1, $2)).*", [
        x,
        y,
      ])
      .then(([row]) => row as { slope: number; slope_lower: number; slope_upper: number });

  test("intervals contain the true slope, as often as they should", async () => {
    const random = algebra.generator(7);
    const normal = (): number => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
    for (const size of [6, 12]) {
      let inside = 0;
      for (let trial = 0; trial < 300; trial++) {
        const x = Array.from({ length: size }, (_, n) => n);
        const found = await theilSen(
          x,
          x.map((n) => 2 * n + normal()),
        );
        if (found.slope_lower <= 2 && 2 <= found.slope_upper) inside++;
      }
      // 95 %, at most 2.3 standard errors below.
      expect(inside / 300).toBeGreaterThan(0.92);
      expect(inside / 300).toBeLessThan(0.995);
    }
  });

  test("one wrong point of six, equal values, and too few of them", async () => {
    expect((await theilSen([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 1000])).slope).toBe(1);
    expect(await theilSen([1, 2, 3, 4, 5, 6], [3, 3, 3, 3, 3, 3])).toMatchObject({ slope: 0, slope_lower: null });
    expect(await theilSen([1, 2, 3], [3, 5, 7])).toMatchObject({ slope: 2, slope_lower: null, slope_upper: null });
    expect(await theilSen([1], [3])).toMatchObject({ slope: null, slope_lower: null });
    expect(await theilSen([], [])).toMatchObject({ slope: null });
  });
});
