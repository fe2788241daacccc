import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("returns the annotation, with the person of the token as its author", async () => {
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("select set_config('insights.person', 'ada', true), set_config('timezone', 'America/Lima', true)");
    const [row] = await db.rows(
      `select kind, title, description, starts_at, ends_at, created_by, created_at = now() as is_now
       from analytics.annotate('  Spring term ', '2026-01-12 00:00Z', '2026-05-30 00:00Z', 'term', ' ')`,
    );
    expect(row).toEqual({
      kind: "term",
      title: "Spring term",
      description: null,
      starts_at: new Date("2026-01-12T00:00Z"),
      ends_at: new Date("2026-05-30T00:00Z"),
      created_by: "ada",
      is_now: true,
    });
    expect(
      await db.rows("select kind, ends_at from analytics.annotate(title => 'Release 4.2', starts_at => '2026-02-02Z')"),
    ).toEqual([{ kind: "other", ends_at: null }]);
  });
});

test.each([
  ["null, now()", "CF001", "no title"],
  ["' ', now()", "CF001", "no title"],
  ["repeat('x', 201), now()", "CF008", "201 characters"],
  ["'x', now(), description => repeat('x', 2001)", "CF008", "2001 characters"],
  ["'x', now(), kind => 'exam'", "CF001", 'kind is "exam"'],
  ["'x', now(), kind => null", "CF001", 'kind is "null"'],
  ["'x', null", "CF001", "from null until null"],
  ["'x', '-infinity'", "CF001", "from -infinity"],
  ["'x', now(), 'infinity'", "CF001", "until infinity"],
  ["'x', '2026-01-02Z', '2026-01-02Z'", "CF001", "until 2026-01-02 00:00:00+00"],
])("annotate(%s) is %s", async (values, code, message) => {
  const error = await database.rejects(`select * from analytics.annotate(${values})`);
  expect(error).toMatchObject({ code, message: expect.stringContaining(message), hint: expect.any(String) });
});

test("analysts, administrators and workers may annotate, and none of them as another author", async () => {
  expect(await rolesThatMay(database, "select analytics.annotate('x', now())")).toEqual(["analyst", "admin", "worker"]);
  for (const role of ["insights_analyst", "insights_admin"]) {
    await database.as(role, {}, async (db) => {
      const forged = "insert into analytics.annotation (title, starts_at, created_by) values ('x', now(), 'ada')";
      expect(await db.rejects(forged)).toMatchObject({ code: "42501" });
    });
  }
});
