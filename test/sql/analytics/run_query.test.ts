import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeDoings } from "./doings.ts";

const database = await testDatabase();
await makeDoings(database);

test("returns the rows of the function as JSON, in its order, with the figures of the caller", async () => {
  const period = { since: "2026-02-02", until: "2026-03-09" };
  await database.query("select analytics.save_query('weeks', 'analytics.trend', $1)", [
    JSON.stringify({ event_name: "Task Submitted", bucket: "week", ...period }),
  ]);
  const answers = async (role: string) =>
    await database.as(role, {}, async (db) => {
      await db.query("set local timezone to 'Asia/Tokyo'; set local datestyle to 'German'");
      const rows = await db.rows("select analytics.run_query('weeks') as row");
      await db.query(
        "set local timezone to 'UTC'; set local datestyle to 'ISO'; set local intervalstyle to 'iso_8601'",
      );
      const called = await db.rows(
        `select to_jsonb(point) as row
         from analytics.trend('Task Submitted', 'week', '2026-02-02Z', '2026-03-09Z') as point`,
      );
      expect(rows).toEqual(called);
      expect(rows.length).toBe(5);
      return rows;
    });
  expect(await answers("insights_analyst")).not.toEqual(await answers("insights_admin"));
});

test("arguments replace those of the saved query, for this call", async () => {
  const count = (given: string) =>
    database.value("select count(*)::int from analytics.run_query('weeks', $1)", [given]);
  expect(await count('{"bucket": "day"}')).toBe(35);
  expect(await count('{"since": "2026-03-02"}')).toBe(1);
  expect(await count("{}")).toBe(5);
});

test("a relative time moves with the clock", async () => {
  await database.query("select analytics.save_query('days', 'analytics.trend', $1)", [
    JSON.stringify({ event_name: "Task Submitted", since: "-2 days", until: "+1 day" }),
  ]);
  const rows = await database.rows<{ row: { bucket_start: string } }>("select analytics.run_query('days') as row");
  const day = (offset: number): string => new Date(Date.now() + offset * 86_400_000).toISOString().slice(0, 10);
  const days = rows.map(({ row }) => row.bucket_start.slice(0, 10));
  // Midnight may pass between the query and the check.
  expect([day(-2), day(-3)]).toContain(days[0]);
  expect(days).toHaveLength(4);
});

test("a function runs by its name, and durations are in the format of ISO 8601", async () => {
  const row = await database.value<{ engaged: string }>(
    `select analytics.run_query('analytics.popular_items', '{"since": "2026-02-02", "until": "2026-03-09", "top": 1}')`,
  );
  expect(row.engaged).toMatch(/^P/);
});

test("it writes nothing, whatever its function does", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query(`
      create function analytics.evil(name text) returns int language plpgsql stable as
        'begin insert into analytics.annotation (title, starts_at, created_by) values ($1, now(), $1); return 1; end';
      grant execute on function analytics.evil(text) to insights_analyst;
      set local role insights_analyst;
    `);
    expect(await db.rejects("select analytics.run_query('analytics.evil', '{\"name\": \"x\"}')")).toMatchObject({
      code: "0A000",
    });
  });
});

test("errors are those of the statement and of the function", async () => {
  expect(await database.rejects("select analytics.run_query(null)")).toMatchObject({ code: "CF002" });
  expect(await database.rejects("select analytics.run_query('weeks', '{\"event_name\": \"x\"}')")).toMatchObject({
    code: "CF002",
    message: 'there is no event "x"',
  });
});

test("analysts, administrators and workers may call it", async () => {
  expect(await rolesThatMay(database, "select analytics.run_query('analytics.annotations')")).toEqual([
    "analyst",
    "admin",
    "worker",
  ]);
});
