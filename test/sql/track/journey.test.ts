import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { makeLearners } from "./learners.ts";

const database = await testDatabase();
await makeLearners(database);

test("is the sequence of actions, session by session", async () => {
  const rows = await database.rows<Record<string, unknown>>(
    "select action_number, event, item, item_title, extract(epoch from since_previous)::int as seconds from track.journey('ada', '2026-03-01', '2026-03-02')",
  );
  expect(rows).toEqual([
    { action_number: 1, event: "Page Viewed", item: "page-1", item_title: "One", seconds: null },
    { action_number: 2, event: "Page Viewed", item: "page-2", item_title: null, seconds: 120 },
    expect.objectContaining({ action_number: 1, seconds: null }),
    expect.objectContaining({ action_number: 2, seconds: 0 }),
  ]);
  // `until` is excluded.
  expect(
    await database.rows("select from track.journey('ada', '2026-03-01 10:01Z', '2026-03-01 10:03Z')"),
  ).toHaveLength(1);
  expect(await database.rows("select from track.journey('ghost', '-infinity')")).toEqual([]);
});

test("numbers the actions of each session in order, and counts the time since the one before", async () => {
  const rows = await database.rows<{
    session_id: string | null;
    action_number: number;
    occurred_at: Date;
    seconds: number | null;
  }>(
    "select session_id, action_number, occurred_at, extract(epoch from since_previous)::float8 as seconds from track.journey('ada', '-infinity')",
  );
  expect(rows.length).toBeGreaterThanOrEqual(6);
  const last = new Map<string | null, { number: number; at: number }>();
  for (const { session_id, action_number, occurred_at, seconds } of rows) {
    const before = last.get(session_id);
    expect(action_number).toBe((before?.number ?? 0) + 1);
    if (before === undefined) expect(seconds).toBeNull();
    else expect(seconds).toBeCloseTo((occurred_at.getTime() - before.at) / 1000, 2);
    last.set(session_id, { number: action_number, at: occurred_at.getTime() });
  }
});

test("is the same by every name of a person, and for admins", async () => {
  const of = (name: string) => database.rows("select * from track.journey($1, '-infinity')", [name]);
  expect(await of("ada-browser")).toEqual(await of("ada"));
  expect(await of("ben")).not.toEqual(await of("ada"));
  expect(await rolesThatMay(database, "select track.journey('ada')")).toEqual(["admin"]);
});
