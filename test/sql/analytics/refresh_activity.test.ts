import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message, refresh } from "../track/messages.ts";

const database = await testDatabase();

const stored = `
  select identity.external_id as person, day::text, event_type.name as event, item.external_id as item, event_count,
    extract(epoch from engaged)::int as engaged
  from analytics.activity
  join track.identity on identity.identity_id = activity.person_id
  join track.event_type using (event_type_id)
  left join track.item using (item_id)
  order by 1, 2, 3, 4`;

test("has one row per person, day, event and item, with the time that was engaged", async () => {
  await database.as("postgres", {}, async (db) => {
    const view = (timestamp: string, item: string) => message({ type: "page", timestamp, properties: { item } });
    await ingest(db, [
      // Two days of UTC, one session.
      view("2026-03-01T23:58:00Z", "a"),
      view("2026-03-01T23:59:00Z", "b"),
      view("2026-03-02T00:01:00Z", "a"),
      message({ timestamp: "2026-03-02T00:02:00Z" }),
      message({ timestamp: "2026-03-02T09:00:00Z" }),
    ]);
    await refresh(db);
    const row = (day: string, event: string, item: string | null, event_count: number, engaged: number) => ({
      person: "ada",
      day,
      event,
      item,
      event_count,
      engaged,
    });
    const expected = [
      row("2026-03-01", "Page Viewed", "a", 1, 60),
      row("2026-03-01", "Page Viewed", "b", 1, 120),
      row("2026-03-02", "Page Viewed", "a", 1, 60),
      row("2026-03-02", "Task Submitted", null, 2, 0),
    ];
    expect(await db.rows(stored)).toEqual(expected);
    // A late event changes its own day, and the time of the view before it.
    await ingest(db, [message({ timestamp: "2026-03-01T23:58:30Z", event: "Task Started" })]);
    await refresh(db);
    expect(await db.rows(stored)).toEqual(
      [...expected, row("2026-03-01", "Task Started", null, 1, 0)].sort((one, other) =>
        `${one.day} ${one.event}` < `${other.day} ${other.event}` ? -1 : 1,
      ),
    );
  });
});

test("processes at most the given number of people per call, and deletes removed data", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(
      db,
      ["ada", "ben", "cleo"].map((userId) => message({ userId })),
    );
    await db.query("select track.refresh_sessions()");
    const people: number[] = [];
    do people.push(Number((await db.value("select people from track.refresh(2, 'analytics.activity')")) ?? 0));
    while (people.at(-1) !== 0);
    expect(people).toEqual([2, 1, 0]);
    expect(await db.rows(stored)).toHaveLength(3);
    await db.query("delete from track.event where person_id = track.find_person('ben')");
    await db.query("select track.rebuild()");
    await refresh(db);
    expect((await db.rows<{ person: string }>(stored)).map(({ person }) => person)).toEqual(["ada", "cleo"]);
  });
});

test("is called by track.refresh alone, as the owner", async () => {
  expect(await rolesThatMay(database, "select analytics.refresh_activity('{1}', '{-infinity}', '{infinity}')")).toEqual(
    [],
  );
});
