import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, type Recommendation, refresh, send } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { comparable, courses, makeHistory, trainOnHistory } from "./history.ts";

const database = await testDatabase();
await makeHistory(database);
const weights = await trainOnHistory(database);
const weight = (from: string, to: string): number => weights.rows[courses.indexOf(from)]?.[courses.indexOf(to)] ?? 0;

const list = async (call: string) =>
  (await database.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from recommend.${call} as r`)).map(
    ({ row }) => row,
  );

const minute = 1 / 1440;

test("only the last session counts, with its parts, for a person without any other history", async () => {
  await ingest(database, [
    { person: "new", event: "Page Viewed", item: "law-6", day: 10 },
    { person: "new", event: "Page Viewed", item: "chapter", kind: "page", parent: "art-1", day: 12 },
    { person: "new", event: "Page Viewed", item: "art-2", day: 12 + 20 * minute },
  ]);
  const check = async () => {
    const rows = await list("for_session('new', 100)");
    for (const row of rows.filter(({ item, basis }) => basis === "model" && !/^art-[12]$/.test(item))) {
      expect(row.score).toBeCloseTo(weight("art-1", row.item) + weight("art-2", row.item), 5);
      expect(row.reasons.map(({ item }) => item).sort()).toEqual(["art-1", "art-2"]);
    }
    expect(rows[0]?.item).toMatch(/^art-/);
    expect(rows.map(({ item }) => item).sort()).toEqual(courses);
    return rows;
  };
  const queued = await check();
  // Without its record the model stays as it was trained: it does not learn from the session.
  await database.query("delete from recommend.learning");
  await refresh(database);
  expect(comparable(await check())).toEqual(comparable(queued));
});

test("an anonymous browser is served from its session", async () => {
  await send(
    database,
    ["law-1", "law-2"].map((item, n) => ({
      type: "page",
      messageId: `browse ${n}`,
      anonymousId: "browser",
      timestamp: new Date(Date.UTC(2026, 5, 1, 9, n)).toISOString(),
      properties: { item },
    })),
  );
  const [first] = await list("for_session('browser', 1)");
  expect(first).toMatchObject({ basis: "model" });
  expect(first?.item).toMatch(/^law-/);
});

test("at most 20 events count, and a pause ends the session", async () => {
  const views = (from: number, items: string[]) =>
    items.map((item, n) => ({ person: "busy", event: "Page Viewed", item, day: from + n * minute }));
  await ingest(database, [...views(20, ["law-1"]), ...views(20 + 2 * minute, Array(20).fill("art-1"))]);
  const because = async () =>
    new Set((await list("for_session('busy', 100)")).flatMap(({ reasons }) => reasons.map(({ item }) => item)));
  expect(await because()).toEqual(new Set(["art-1", null]));
  await ingest(database, views(21, ["law-2"]));
  expect(await because()).not.toContain("art-1");
  expect(await because()).toContain("law-2");
});

test("rejected courses are not reasons, and nothing is used without consent", async () => {
  await ingest(database, [
    { person: "picky", event: "Page Viewed", item: "art-1", day: 30 },
    { person: "picky", event: "Page Viewed", item: "law-1", day: 30 + minute },
    { person: "picky", event: "Course Dismissed", item: "art-1", day: 30 + 2 * minute },
  ]);
  const rows = await list("for_session('picky', 100)");
  expect(rows.map(({ item }) => item)).not.toContain("art-1");
  expect(rows.flatMap(({ reasons }) => reasons.map(({ item }) => item))).not.toContain("art-1");
  expect(rows[0]?.reasons.map(({ item }) => item)).toEqual(["law-1"]);
  await database.query("select privacy.record_consent(track.find_person('picky'), 'personalization', false)");
  expect(new Set((await list("for_session('picky', 100)")).map(({ basis }) => basis))).toEqual(new Set(["popularity"]));
});

test("an unknown person gets what is popular; bad input is refused", async () => {
  expect((await list("for_session('ghost', 3)")).map(({ basis }) => basis)).toEqual(Array(3).fill("popularity"));
  const error = await database.rejects("select * from recommend.for_session(' ')");
  expect([error.code, error.message]).toEqual(["CF001", 'the person is " "']);
  expect((await database.rejects("select * from recommend.for_session('new', 0)")).message).toBe("top is 0");
});

test("is for admins and workers", async () => {
  expect(await rolesThatMay(database, "select * from recommend.for_session('p0')")).toEqual(["admin", "worker"]);
});
