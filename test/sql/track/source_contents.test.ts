import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

test("counts the events, people and items of an import, and those without other events", async () => {
  await database.as("postgres", {}, async (db) => {
    const send = async (source: string, rows: [string, string | null][]): Promise<void> => {
      await db.query("select set_config('insights.source', $1, true)", [source]);
      await db.query("select track.ingest($1)", [
        JSON.stringify(
          rows.map(([userId, item], index) => ({
            type: "track",
            messageId: `${index}`,
            userId,
            event: "Task Submitted",
            timestamp: `2026-01-0${index + 1}T00:00:00Z`,
            properties: item === null ? {} : { item },
          })),
        ),
      ]);
    };
    await send("app", [
      ["ada", "a"],
      ["ben", "b"],
    ]);
    await send("edx", [
      ["ada", "a"],
      ["eve", "c"],
      ["eve", null],
      ["kim", "b"],
    ]);
    expect(await db.rows("select * from track.source_contents('edx')")).toEqual([
      {
        source: "edx",
        events: "4",
        first_at: new Date("2026-01-01T00:00:00Z"),
        last_at: new Date("2026-01-04T00:00:00Z"),
        people: "3",
        people_alone: "2",
        items: "3",
        items_alone: "1",
      },
    ]);
  });
});

test("an unknown name is refused, with the nearest one", async () => {
  await database.as("postgres", {}, async (db) => {
    await db.query("select set_config('insights.source', 'edx', true)");
    await db.query(`select track.ingest('{"type": "track", "messageId": "1", "userId": "ada", "event": "E"}')`);
    await expect(db.query("select track.source_contents('edxs')")).rejects.toMatchObject({
      code: "CF002",
      hint: expect.stringContaining('"edx"'),
    });
  });
});

test("administrators only", async () => {
  expect(await rolesThatMay(database, "select track.source_contents('edx')")).toEqual(["admin"]);
});
