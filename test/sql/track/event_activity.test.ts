import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

test("is that of the events now; a page view whose event was moved or deleted does not count", async () => {
  await database.as("postgres", {}, async (db) => {
    const page = (timestamp: string) => message({ type: "page", timestamp, properties: { item: "a" } });
    await ingest(db, [page("2026-03-01T10:00:00Z"), page("2026-03-01T10:01:00Z"), message()]);
    await refresh(db);
    const rows = (type = "null") =>
      db.rows(
        `select event_count, extract(epoch from engaged)::int as engaged
         from track.event_activity(array[track.find_person('ada')], '{2026-01-01}', '{2027-01-01}', ${type})
         where item_id is not null order by 1`,
      );
    const seconds = await db.value<number>("select extract(epoch from sum(engaged))::int from track.page_view");
    expect(seconds).toBeGreaterThan(0);
    expect(await rows()).toEqual([
      { event_count: 0, engaged: seconds },
      { event_count: 2, engaged: 0 },
    ]);
    expect(await rows("array(select event_type_id from track.event_type where name = 'Page Viewed')")).toEqual([
      { event_count: 2, engaged: 0 },
    ]);
    await db.query("delete from track.event where item_id is not null");
    expect(await rows()).toEqual([]);
  });
});
