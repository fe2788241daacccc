import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { refresh } from "../track/messages.ts";

const database = await testDatabase();

test("what an import did is not kept as taken, what old events did is", async () => {
  await database.as("postgres", {}, async (db) => {
    const send = async (source: string, item: string, at: string): Promise<void> => {
      await db.query("select set_config('insights.source', $1, true)", [source]);
      await db.query("select track.ingest($1)", [
        JSON.stringify({
          type: "track",
          messageId: item,
          userId: "ada",
          event: "Course Completed",
          timestamp: at,
          properties: { item, itemKind: "course" },
        }),
      ]);
    };
    await send("app", "old", "2026-01-01T00:00:00Z");
    await send("wrong", "imported", "2026-01-02T00:00:00Z");
    await send("app", "right", "2026-01-03T00:00:00Z");
    await refresh(db);
    await db.query("delete from track.event where occurred_at = '2026-01-01T00:00:00Z'");
    await db.query("select track.rebuild()");
    await refresh(db);
    while ((await db.value("select completed_at is null from track.forget_import('wrong')")) === true);
    await refresh(db);
    const items = (table: string): Promise<unknown[]> =>
      db.rows(`select external_id from ${table} join track.item using (item_id) order by 1`);
    expect(await items("recommend.taken")).toEqual([{ external_id: "old" }]);
    expect(await items("recommend.interaction")).toEqual([{ external_id: "right" }]);
  });
});

test("only rows of the given people and times are deleted", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("insert into track.item (external_id, kind) values ('a', 'course')");
    const insert = (person: number, at: string) =>
      db.query(
        `insert into recommend.dismissed_topic (person_id, topic, identity_id, first_at) values ($1, 'maths', $1, $2)`,
        [person, at],
      );
    await insert(7, "2026-01-01T00:00:00Z");
    await insert(8, "2026-01-02T00:00:00Z");
    await db.query("select recommend.forget_events('{7,8}', '{2026-01-01 00:00:00Z,2026-01-01 00:00:00Z}')");
    await db.query("select recommend.forget_events(null, null)");
    expect(await db.rows("select person_id::int as person from recommend.dismissed_topic")).toEqual([{ person: 8 }]);
  });
});
