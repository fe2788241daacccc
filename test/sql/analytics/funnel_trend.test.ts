import { describe, expect, test } from "vitest";
import { type Bucket, spans } from "../../support/activity.ts";
import { testDatabase } from "../../support/database.ts";
import { groupBy, ofGroups, shown } from "../../support/floor.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { DAY, type Doing, doings, iso, makeDoings, start, withFloor } from "./doings.ts";
import { attempt, type Funnel } from "./funnel_rules.ts";

const database = await testDatabase();
await makeDoings(database);

interface Row {
  bucket_start: Date;
  entered_count: number;
  converted_count: number;
  share: number | null;
}

interface Asked {
  bucket?: Bucket;
  since?: number;
  until?: number;
  order?: Funnel["order"];
  days?: number;
  from?: number;
  to?: number;
}

const events = ["Task Submitted", "Course Rated", "Task Submitted"];
const usual = {
  bucket: "week" as Bucket,
  since: start + 7 * DAY,
  until: start + 28 * DAY,
  order: "ordered" as Funnel["order"],
  days: 3,
  from: 1,
  to: 3,
};

/** The buckets, from the events alone. */
function expected(asked: Asked, floor: number): Row[] {
  const given = { ...usual, ...asked };
  const buckets = spans(given.bucket, given.since, given.until);
  const last = (buckets.at(-1)?.[1] ?? 0) + (given.days + 1) * DAY;
  const visible = new Set(
    ["Task Submitted", "Course Rated"].flatMap((event) => {
      const uses = doings.filter((one) => one.event === event);
      return [...buckets, [buckets.at(-1)?.[1] ?? 0, last] as const].flatMap(([since, until]) =>
        ofGroups(uses, since, until, floor),
      );
    }),
  );
  const funnel: Funnel = {
    steps: events.map((event) => ({ event })),
    exclusions: [],
    order: given.order,
    window: given.days * DAY,
  };
  return buckets.map(([since, until]) => {
    const attempts = [...groupBy([...visible], ({ person }) => person).values()].map((all: Doing[]) =>
      attempt(
        all
          .filter(({ at }) => at >= since && at <= until + funnel.window)
          .map(({ at, event, item }) => ({ at, event, item, plan: null })),
        funnel,
        ({ at, event }) =>
          events.flatMap((name, index) => (name === event && (index > 0 || at < until) ? [index + 1] : [])),
      ),
    );
    const count = (step: number): number => {
      const people = attempts.filter(({ reached }) => reached >= step).length;
      return shown(people, people, floor);
    };
    return {
      bucket_start: new Date(since),
      entered_count: count(given.from),
      converted_count: count(given.to),
      share: count(given.from) === 0 ? null : (expect.closeTo(count(given.to) / count(given.from), 9) as number),
    };
  });
}

describe("the buckets are those of the events", () => {
  const cases: [string, Asked][] = [
    ["by week", {}],
    ["by day", { bucket: "day", since: start + 3 * DAY, until: start + 12 * DAY }],
    ["by month", { bucket: "month", since: start - 10 * DAY, until: start + 40 * DAY }],
    ["from the second step", { from: 2 }],
    ["to the second step", { to: 2, days: 1 }],
    ["in a window that is longer than the bucket", { bucket: "day", days: 10, until: start + 12 * DAY }],
    ["strict", { order: "strict", days: 10 }],
  ];
  for (const [name, asked] of cases) {
    for (const floor of asked.order === "strict" ? [1] : [1, 3]) {
      test(`${name}, floor ${floor}`, async () => {
        const given = { ...usual, ...asked };
        const rows = await withFloor<Row>(
          database,
          floor,
          `select bucket_start, entered_count::int, converted_count::int, share
           from analytics.funnel_trend(
             $1, $2, $3, $4, step_order => $5, conversion_window => $6::interval, from_step => $7, to_step => $8
           )`,
          [
            JSON.stringify(events),
            given.bucket,
            iso(given.since),
            iso(given.until),
            given.order,
            `${given.days} days`,
            given.from,
            given.to,
          ],
        );
        expect(rows).toEqual(expected(asked, floor));
        expect(rows.some(({ converted_count }) => converted_count > 0)).toBe(true);
      });
    }
  }
});

test("an unordered attempt is in the bucket of the first of its steps", async () => {
  const rows = await database.rows<{ entered: number; converted: number }>(
    `select entered_count::int as entered, converted_count::int as converted
     from analytics.funnel_trend(
       '["Task Submitted", "Course Rated"]', 'day', $1, $2, step_order => 'unordered', conversion_window => '12 hours'
     )`,
    [iso(start + 5 * DAY), iso(start + 9 * DAY)],
  );
  const window = DAY / 2;
  const days = spans("day", start + 5 * DAY, start + 9 * DAY);
  expect(rows).toEqual(
    days.map(([since, until]) => {
      const byPerson = [...groupBy(doings, ({ person }) => person).values()];
      const entered = byPerson.filter((all) => all.some(({ at }) => at >= since && at < until));
      const converted = entered.filter((all) =>
        all.some(
          (one) =>
            one.at >= since &&
            one.at < until &&
            all.some(({ at, event }) => event !== one.event && at >= one.at && at - one.at <= window),
        ),
      );
      return { entered: entered.length, converted: converted.length };
    }),
  );
});

test("the first step is the trend of its event, and complete when its window has ended", async () => {
  const rows = await database.rows(
    `select funnel.entered_count = trend.person_count as is_same, funnel.is_complete
     from analytics.funnel_trend('["Task Submitted", "Course Rated"]', 'day', $1, $2) as funnel
     join analytics.trend('Task Submitted', 'day', $1, $2) as trend using (bucket_start)`,
    [iso(start), iso(start + 40 * DAY)],
  );
  expect(rows).toHaveLength(40);
  expect(new Set(rows.map((row) => JSON.stringify(row)))).toEqual(new Set(['{"is_same":true,"is_complete":true}']));
  const [today] = await database.rows(
    `select is_complete from analytics.funnel_trend('["Task Submitted", "Course Rated"]', 'day', now() - interval '2 days')`,
  );
  expect(today).toEqual({ is_complete: false });
});

test.each([
  ["from_step => 2, to_step => 2", "CF001", "from_step is 2 and to_step 2"],
  ["from_step => 0", "CF001", "from_step is 0"],
  ["to_step => 3", "CF001", "to_step 3"],
  ["from_step => null", "CF001", "from_step is null"],
  ["bucket => 'fortnight'", "CF001", "fortnight"],
  ["zone => 'Mars'", "CF002", "Mars"],
  ["bucket => 'minute', since => now() - interval '6 days', breakdown => 'trait.plan'", "CF008", "buckets"],
])("%s is an error", async (argument, code, text) => {
  expect(
    await database.rejects(`select * from analytics.funnel_trend('["Task Submitted", "Course Rated"]', ${argument})`),
  ).toMatchObject({ code, message: expect.stringContaining(text) });
});

test("is for analysts, admins and workers", async () => {
  expect(
    await rolesThatMay(database, `select * from analytics.funnel_trend('["Task Submitted", "Course Rated"]')`),
  ).toEqual(["analyst", "admin", "worker"]);
});
