import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

const called = (source: string): string => `
  select identity.external_id as person, day::text, event_type.name as event, item.external_id as item, event_count,
    extract(epoch from engaged)::int as engaged
  from ${source} as activity
  join track.identity on identity.identity_id = activity.person_id
  left join track.event_type using (event_type_id)
  left join track.item using (item_id)
  order by 1, 2, 3, 4`;
const stored = called(
  "track.stored_activity(array(select person_id from track.person), array(select '-infinity'::date from track.person), array(select 'infinity'::date from track.person))",
);
const computed = called(
  "track.event_activity(array(select person_id from track.person), array(select '-infinity'::date from track.person), array(select 'infinity'::date from track.person))",
);
const now = called("track.activity_of(null, '-infinity', 'infinity')");

const view = (timestamp: string, item: string) => message({ type: "page", timestamp, properties: { item } });
const row = (day: string, event: string | null, item: string | null, event_count: number, engaged: number) => ({
  person: "ada",
  day,
  event,
  item,
  event_count,
  engaged,
});

test("has one row per person, day, event type and item, and one for the page views of an item", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      // Two days of UTC, one session.
      view("2026-03-01T23:58:00Z", "a"),
      view("2026-03-01T23:59:00Z", "b"),
      view("2026-03-02T00:01:00Z", "a"),
      message({ timestamp: "2026-03-02T00:02:00Z" }),
      message({ timestamp: "2026-03-02T09:00:00Z" }),
    ]);
    await refresh(db);
    const expected = [
      row("2026-03-01", "Page Viewed", "a", 1, 0),
      row("2026-03-01", "Page Viewed", "b", 1, 0),
      row("2026-03-01", null, "a", 0, 60),
      row("2026-03-01", null, "b", 0, 120),
      row("2026-03-02", "Page Viewed", "a", 1, 0),
      row("2026-03-02", "Task Submitted", null, 2, 0),
      row("2026-03-02", null, "a", 0, 60),
    ];
    for (const rows of [stored, computed, now]) expect(await db.rows(rows)).toEqual(expected);

    // A late event is in the activity as of now at once, and in the stored one after the refresh.
    await ingest(db, [message({ timestamp: "2026-03-01T23:58:30Z", event: "Task Started" })]);
    expect(await db.rows(stored)).toEqual(expected);
    const late = expected.toSpliced(2, 0, row("2026-03-01", "Task Started", null, 1, 0));
    expect(await db.rows(now)).toEqual(late);
    await refresh(db);
    for (const rows of [stored, computed, now]) expect(await db.rows(rows)).toEqual(late);
  });
});

test("is of the given people and days", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(
      db,
      ["ada", "ben"].flatMap((userId) =>
        ["2025-12-31", "2026-01-01", "2026-01-02"].map((day) => message({ userId, timestamp: `${day}T12:00:00Z` })),
      ),
    );
    const days = () =>
      db.rows(
        "select day::text, event_count from track.activity_of(array[track.find_person('ada')], '2025-12-31', '2026-01-02') order by 1",
      );
    const expected = ["2025-12-31", "2026-01-01"].map((day) => ({ day, event_count: 1 }));
    expect(await days()).toEqual(expected);
    await refresh(db);
    expect(await days()).toEqual(expected);
    // Between the days that are queued, and the others.
    await ingest(db, [message({ userId: "ada", timestamp: "2025-12-31T13:00:00Z" })]);
    expect(await days()).toEqual([{ day: "2025-12-31", event_count: 2 }, expected[1]]);
  });
});

test("is of the given items, before and after a refresh", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [
      view("2026-03-01T10:00:00Z", "a"),
      view("2026-03-01T10:01:00Z", "b"),
      view("2026-03-01T10:03:00Z", "c"),
      message({ timestamp: "2026-03-01T10:04:00Z" }),
    ]);
    await refresh(db);
    const all = await db.rows<ReturnType<typeof row>>(now);
    const items = "array(select item_id from track.item where external_id in ('a', 'c'))";
    const some = called(`track.activity_of(null, '-infinity', 'infinity', of_items => ${items})`);
    const expected = all.filter(({ item }) => item === "a" || item === "c");
    expect(expected).toHaveLength(4);
    expect(await db.rows(some)).toEqual(expected);
    await ingest(db, [view("2026-03-02T10:00:00Z", "c"), message({ timestamp: "2026-03-02T10:01:00Z" })]);
    const late = [...expected, row("2026-03-02", "Page Viewed", "c", 1, 0)];
    expect(await db.rows(some)).toEqual(late);
    await refresh(db);
    const events = (await db.rows<ReturnType<typeof row>>(some)).filter(({ event }) => event !== null);
    expect(events).toEqual(late.filter(({ event }) => event !== null));
    expect(await db.rows(called("track.activity_of(null, '-infinity', 'infinity', of_items => '{}')"))).toEqual([]);
  });
});

test("is for the functions of other rooms", async () => {
  expect(await rolesThatMay(database, "select track.activity_of(null, '2026-01-01', '2026-01-02')")).toEqual(["admin"]);
});
