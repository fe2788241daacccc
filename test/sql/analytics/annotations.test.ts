import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();
await database.query(
  `select
     analytics.annotate('term', '2026-02-01Z', '2026-06-01Z', 'term'),
     analytics.annotate('release', '2026-03-01Z', kind => 'release'),
     analytics.annotate('holiday', '2026-03-01Z', '2026-03-08Z', 'holiday')`,
);

test.each([
  ["", ["term", "release", "holiday"]],
  ["'2026-03-01Z', '2026-03-02Z'", ["term", "release", "holiday"]],
  ["'2026-03-01 00:00:01Z', '2026-03-02Z'", ["term", "holiday"]],
  ["'2026-03-08Z'", ["term"]],
  ["until => '2026-03-01Z'", ["term"]],
  ["until => '2026-02-01Z'", []],
  ["'2026-06-01Z'", []],
])("annotations(%s) are those that overlap the period", async (values, titles) => {
  const rows = await database.rows<{ title: string }>(`select title from analytics.annotations(${values})`);
  expect(rows.map(({ title }) => title)).toEqual(titles);
});

test.each(["null", "now(), now()", "now(), null"])("annotations(%s) is CF001", async (values) => {
  expect(await database.rejects(`select * from analytics.annotations(${values})`)).toMatchObject({ code: "CF001" });
});

test("analysts, instructors, administrators and workers may read them", async () => {
  expect(await rolesThatMay(database, "select * from analytics.annotations()")).toEqual([
    "instructor",
    "analyst",
    "admin",
    "worker",
  ]);
});
