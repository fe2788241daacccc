import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, type Recommendation, refresh, type Step } from "../../support/recommend.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
const today = (Date.now() - Date.UTC(2026, 0, 1)) / 86_400_000;
const steps: Step[] = [];
const visits = (item: string, people: number, from: number, days: number) => {
  for (let day = 0; day < days; day++)
    for (let person = 0; person < people; person++)
      steps.push({ person: `${item} ${person}`, event: "Page Viewed", item, kind: "course", day: today - from + day });
};
visits("steady", 12, 35, 35);
visits("rising", 4, 35, 28);
visits("rising", 30, 6, 6);
visits("falling", 30, 35, 25);
// Of one person, who sends much: below the floor.
visits("lonely", 1, 6, 6);
await ingest(database, steps);
await refresh(database);
await database.query("select analytics.refresh_views(), recommend.refresh_lists()");

const trending = async (db: { rows: typeof database.rows } = database, call = "trending(10)") =>
  (await db.rows<{ row: Recommendation }>(`select to_jsonb(r) as row from recommend.${call} as r`)).map(
    ({ row }) => row,
  );

test("the items that are used more than expected come first, then popular ones", async () => {
  const rows = await trending();
  expect(rows[0]).toMatchObject({ item: "rising", basis: "trending", score: 1, reasons: [{ kind: "trending" }] });
  // The item that one person used is among the newest items.
  expect(rows.slice(1).map(({ item, basis }) => [item === "lonely", basis])).toEqual([
    [false, "popularity"],
    [false, "popularity"],
    [true, "newest"],
  ]);
  expect(rows.map(({ item }) => item).sort()).toEqual(["falling", "lonely", "rising", "steady"]);
  expect((await trending(database, "trending(10, exclude_items => '{rising}')")).map(({ item }) => item)).not.toContain(
    "rising",
  );
});

test("the order is that of analytics.trending_items", async () => {
  const expected = await database.rows<{ item: string }>("select item from analytics.trending_items('course')");
  expect(expected[0]?.item).toBe("rising");
});

test("bad input is refused; a kind without use has the newest items", async () => {
  expect((await database.rejects("select * from recommend.trending(0)")).message).toBe("top is 0");
  expect((await database.rejects("select * from recommend.trending(kind => 'curse')")).code).toBe("CF002");
  await ingest(database, [{ person: "p", event: "Task Started", item: "task", kind: "task", day: today }]);
  expect((await trending(database, "trending(10, 'task')")).map(({ basis }) => basis)).toEqual(["newest"]);
});

test("is for all roles", async () => {
  expect(await rolesThatMay(database, "select * from recommend.trending()")).toEqual([
    "visitor",
    "learner",
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
  await database.as("insights_visitor", {}, async (db) => expect((await trending(db))[0]?.item).toBe("rising"));
});
