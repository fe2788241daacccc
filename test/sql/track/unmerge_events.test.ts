import { expect, test } from "vitest";
import { type Queries, testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const owner = <T>(work: (db: Queries) => Promise<T>): Promise<T> => database.as("postgres", {}, work);

const counts = (db: Queries) =>
  db.rows<{ name: string; count: number }>(
    "select name, count(*)::int from track.event join track.event_type using (event_type_id) group by 1 order by 1",
  );

const send = (db: Queries, ...events: string[]) =>
  ingest(
    db,
    events.map((event) => message({ event })),
  );

test("events get their names back, the later ones too", async () => {
  await owner(async (db) => {
    await send(db, "old", "new");
    await db.query("select track.merge_events('old', 'new')");
    await send(db, "old", "old", "new");
    await refresh(db);
    expect(await db.value("select track.unmerge_events('old')")).toBe("3");
    await send(db, "old");
    expect(await counts(db)).toEqual([
      { name: "new", count: 2 },
      { name: "old", count: 4 },
    ]);
    expect(await db.value("select count(*)::int from track.event where named_event_type_id is not null")).toBe(0);
    await refresh(db);
    expect(
      await db.rows(
        "select name, sum(event_count)::int from track.activity_of(null, '-infinity', 'infinity') as activity join track.event_type using (event_type_id) group by 1 order by 1",
      ),
    ).toEqual([
      { name: "new", sum: 2 },
      { name: "old", sum: 4 },
    ]);
    expect(await db.rows("select action, name, target from track.name_log order by logged_at")).toEqual([
      { action: "event merged", name: "old", target: "new" },
      { action: "event unmerged", name: "old", target: "new" },
    ]);
  });
});

test("a name that was merged further goes back with those that were merged into it", async () => {
  await owner(async (db) => {
    await send(db, "a", "b", "c", "d");
    await db.query("select track.merge_events('a', 'b'), track.merge_events('b', 'c'), track.merge_events('c', 'd')");
    expect(await counts(db)).toEqual([{ name: "d", count: 4 }]);
    await db.query("select track.unmerge_events('b')");
    expect(await counts(db)).toEqual([
      { name: "b", count: 2 },
      { name: "d", count: 2 },
    ]);
    await db.query("select track.unmerge_events('c'), track.unmerge_events('a')");
    expect(await counts(db)).toEqual(["a", "b", "c", "d"].map((name) => ({ name, count: 1 })));
  });
});

test("errors name the events", async () => {
  await owner(async (db) => {
    await send(db, "a", "b", "c");
    await db.query("select track.merge_events('a', 'b')");
    const cases: [string, string, string, string][] = [
      ["'b'", "CF001", 'event "b" is not merged', 'Give a name that was merged into it: "a".'],
      [
        "'c'",
        "CF001",
        'event "c" is not merged',
        "No event was merged into it either. The log of changed names is track.name_log.",
      ],
      ["'z'", "CF002", 'there is no event "z"', "Give the name of an event, as in track.event_type."],
      ["null", "CF002", 'there is no event "null"', "Give the name of an event, as in track.event_type."],
    ];
    for (const [name, code, text, hint] of cases) {
      expect(await db.rejects(`select track.unmerge_events(${name})`), name).toMatchObject({
        code,
        message: text,
        hint,
      });
    }
  });
});

test("is for admins", async () => {
  await database.query("select track.ingest($1::jsonb)", [
    JSON.stringify(["one", "two"].map((event) => message({ event, messageId: `role ${event}` }))),
  ]);
  await database.query("select track.merge_events('one', 'two')");
  expect(await rolesThatMay(database, "select track.unmerge_events('one')")).toEqual(["admin"]);
});
