import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

test("is as of the last refresh, also of an anonymized event, whose rows are those of one day", async () => {
  await database.as("postgres", {}, async (db) => {
    const shy = { context: { consent: { categoryPreferences: { analytics: false } } } };
    await ingest(db, [
      message({ userId: "ada", timestamp: "2026-03-01T10:00:00Z" }),
      message({ userId: "shy", timestamp: "2026-03-01T10:00:00Z", ...shy }),
      message({ userId: "shy", timestamp: "2026-03-02T10:00:00Z", ...shy }),
    ]);
    const rows = () =>
      db.rows(
        `select person_id = 0 as is_nobody, day::text, event_count from track.stored_activity(
           array[0, track.find_person('ada')], '{2026-03-01,2026-03-01}', '{2026-03-03,2026-03-03}') order by 1, 2, 3`,
      );
    expect(await rows()).toEqual([]);
    await refresh(db);
    expect(await rows()).toEqual([
      { is_nobody: false, day: "2026-03-01", event_count: 1 },
      { is_nobody: true, day: "2026-03-01", event_count: 1 },
      { is_nobody: true, day: "2026-03-02", event_count: 1 },
    ]);
    expect(await db.rows("select since::text from track.step where person_id = 0 order by 1")).toEqual([
      { since: "2026-03-01" },
      { since: "2026-03-02" },
    ]);
    expect(await db.value("select count(*)::int from track.stored_activity('{}', '{}', '{}')")).toBe(0);
  });
});
