import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "../track/messages.ts";
import { DAY, iso, start, withFloor } from "./doings.ts";

const database = await testDatabase();
/** A session each, of one person: the seconds between its page views. */
const sessions = [[], [], [5], [10], [12, 20], [30, 30], [60, 60, 60], [600]];
await ingest(
  database,
  sessions.flatMap((gaps, person) =>
    [0, ...gaps].map((_, index) => ({
      type: "page",
      messageId: `${person} ${index}`,
      userId: `p${person}`,
      timestamp: iso(start + gaps.slice(0, index).reduce((sum, gap) => sum + gap * 1000, 0)),
      properties: { item: `page-${index}`, itemKind: "page" },
    })),
  ),
);
await refresh(database);
const period = [iso(start), iso(start + DAY)];
const bins = async (measure: string, floor = 1) =>
  await withFloor<{ from: number; to: number | null; sessions: number; people: number; share: number }>(
    database,
    floor,
    `select bin_start as from, bin_end as to, session_count::int as sessions, person_count::int as people, share
     from analytics.session_distribution('${measure}', $1, $2)`,
    period,
  );

test("a duration at a bound is in the bin that it begins", async () => {
  const counted = Object.fromEntries((await bins("duration")).map(({ from, sessions }) => [from, sessions]));
  expect(counted).toEqual({ 0: 3, 10: 1, 30: 1, 60: 1, 180: 1, 600: 1, 1800: 0, 3600: 0 });
});

test("page views, with their shares; each bin ends where the next one begins", async () => {
  const rows = await bins("views");
  expect(rows.map(({ from, sessions }) => [from, sessions])).toEqual([
    [0, 0],
    [1, 2],
    [2, 3],
    [3, 2],
    [4, 1],
    [5, 0],
    [10, 0],
    [20, 0],
  ]);
  expect(rows.map(({ share }) => share)).toEqual([0, 0.25, 0.375, 0.25, 0.125, 0, 0, 0]);
  expect(rows.map(({ to }) => to)).toEqual([...rows.slice(1).map(({ from }) => from), null]);
});

test("the bins add up to the sessions of session_trend", async () => {
  const expected = await withFloor<{ sessions: number }>(
    database,
    1,
    "select sum(session_count)::int as sessions from analytics.session_trend('day', $1, $2)",
    period,
  );
  for (const measure of ["engaged", "duration", "views"])
    expect((await bins(measure)).reduce((sum, { sessions }) => sum + sessions, 0)).toBe(expected[0]?.sessions);
});

test("analysts see bins of enough people", async () => {
  expect((await bins("views", 3)).map(({ people }) => people)).toEqual([0, 0, 3, 0, 0, 0, 0, 0]);
});

test("without sessions all bins are empty", async () => {
  const rows = await database.as("insights_admin", {}, (db) =>
    db.rows(
      "select session_count::int as sessions, share from analytics.session_distribution('views', '2001-01-01', '2001-01-02')",
    ),
  );
  expect(rows).toEqual(Array.from({ length: 8 }, () => ({ sessions: 0, share: null })));
});

test("another measure is an error", async () => {
  for (const measure of ["'clicks'", "null"])
    expect(await database.rejects(`select * from analytics.session_distribution(${measure})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("measure is"),
    });
});

test("another number of values is an error, also without a breakdown", async () => {
  for (const count of ["0", "101", "null"])
    expect(
      await database.rejects(`select * from analytics.session_distribution(top_values => ${count})`),
    ).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("top_values is"),
    });
});

test("is for analysts, admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from analytics.session_distribution()")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
