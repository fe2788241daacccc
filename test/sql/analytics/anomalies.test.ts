import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
const random = generator(11);
/** Sixty days of a course with quiet weekends; a spike on day 50, and a day without events, 57. */
const counts = Array.from({ length: 60 }, (_, day) =>
  day === 50 ? 60 : day === 57 ? 0 : (day % 7 < 5 ? 20 : 5) + Math.floor(random() * 6),
);
await ingest(
  database,
  counts.flatMap((count, day) =>
    Array.from({ length: count }, (_, number) => ({
      type: "track",
      event: "Task Submitted",
      messageId: `${day} ${number}`,
      userId: `p${number}`,
      timestamp: iso(start + day * DAY + number * 60_000),
    })),
  ),
);
await refresh(database);

const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
};

interface Row {
  day: number;
  figure: number;
  expected: number;
  lower: number;
  upper: number;
  score: number;
  is_anomaly: boolean;
}

/** From the counts alone. Days before the first one have no events, and are part of the trend too. */
function expected(since: number, until: number, { season = 7, history = 28, threshold = 3.5 } = {}): Row[] {
  const first = since - history - 3 * season;
  const series = Array.from({ length: until - first }, (_, index) => counts[first + index] ?? 0);
  const bases = series.map((_, at) =>
    at < 3 * season ? undefined : median([1, 2, 3].map((back) => series[at - back * season] as number)),
  );
  return series.flatMap((figure, at): Row[] => {
    const base = bases[at];
    const earlier = series.flatMap((value, other) =>
      other < at && other >= at - history && bases[other] !== undefined ? [value - (bases[other] as number)] : [],
    );
    if (base === undefined || first + at < since || earlier.length < 10) return [];
    const middle = median(earlier);
    const deviation = Math.max(
      1.482602218505602 * median(earlier.map((value) => Math.abs(value - middle))),
      Math.sqrt(1.4487 * Math.max(base + middle, 1)),
    );
    const distance = figure - base - middle;
    return [
      {
        day: first + at,
        figure,
        expected: base + middle,
        lower: expect.closeTo(Math.max(0, base + middle - threshold * deviation), 9) as number,
        upper: expect.closeTo(base + middle + threshold * deviation, 9) as number,
        score: expect.closeTo(distance / deviation, 9) as number,
        is_anomaly: Math.abs(distance) > threshold * deviation,
      },
    ];
  });
}

const call = (rest = ""): string => `
  select (extract(epoch from bucket_start - '${iso(start)}') / 86400)::int as day, figure, expected, lower_bound as lower,
    upper_bound as upper, score, is_anomaly
  from analytics.anomalies('Task Submitted', 'day', $1, $2${rest})`;

test("scores are those of the medians; the spike and the empty day are found, and no other", async () => {
  const rows = await withFloor<Row>(database, 1, call(), [iso(start + 40 * DAY), iso(start + 60 * DAY)]);
  expect(rows).toEqual(expected(40, 60));
  expect(rows.filter(({ is_anomaly }) => is_anomaly).map(({ day }) => day)).toEqual([50, 57]);
});

test("with another season, history and threshold", async () => {
  const period = [iso(start + 20 * DAY), iso(start + 60 * DAY)];
  expect(await withFloor<Row>(database, 1, call(", season => 1, history => 12, threshold => 2"), period)).toEqual(
    expected(20, 60, { season: 1, history: 12, threshold: 2 }),
  );
});

test("for analysts it is computed from the figures that they see", async () => {
  const rows = await withFloor<Row>(database, 6, call(", measure => 'people'"), [
    iso(start + 40 * DAY),
    iso(start + 60 * DAY),
  ]);
  expect(rows.every(({ figure }) => figure % 6 === 0)).toBe(true);
  expect(rows.find(({ day }) => day === 50)).toMatchObject({ is_anomaly: true });
});

test("a bucket that has not ended has no row, and an event without a past no anomaly", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [{ type: "track", event: "New", messageId: "new", userId: "p1", timestamp: iso(Date.now()) }]);
    const rows = await db.rows<{ is_anomaly: boolean; today: boolean }>(
      "select is_anomaly, bucket_start > now() - interval '1 day' as today from analytics.anomalies('New')",
    );
    expect(rows.some(({ is_anomaly, today }) => is_anomaly || (today && rows.length > 28))).toBe(false);
  });
});

test.each([
  ["measure => 'visits'", "CF001", "measure"],
  ["season => 0", "CF001", "season"],
  ["history => 9", "CF001", "history"],
  ["threshold => 0", "CF001", "threshold"],
  ["threshold => 'NaN'", "CF001", "threshold"],
  ["threshold => null", "CF001", "threshold"],
  ["event_name => 'Nothing'", "CF002", "Nothing"],
  ["bucket => 'fortnight'", "CF001", "fortnight"],
  ["zone => 'Mars/Olympus'", "CF002", "Mars/Olympus"],
  ["zone => null", "CF002", "null"],
  ["since => '-infinity'", "CF008", ""],
])("%s is an error", async (argument, code, text) => {
  expect(await database.rejects(`select * from analytics.anomalies(${argument})`)).toMatchObject({
    code,
    message: expect.stringContaining(text),
  });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.anomalies()")).toEqual(["analyst", "admin", "worker"]);
});
