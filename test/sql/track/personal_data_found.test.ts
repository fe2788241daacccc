import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, message } from "./messages.ts";

const database = await testDatabase();

test("sums the counts of the days of a period by event, property and kind", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(db, [message({ event: "A" }), message({ event: "B" }), message({ event: "C" })]);
    await db.query("select track.merge_events('C', 'B')");
    await db.query(`
      insert into track.found_data (day, event_type_id, property, kind, backend, found)
      select day::date, event_type_id, property, kind, backend, found
      from (
        values
          ('2026-01-01', 'A', 'properties.x', 'e-mail', 1, 2),
          ('2026-01-01', 'A', 'properties.x', 'e-mail', 2, 3),
          ('2026-01-05', 'A', 'properties.x', 'e-mail', 0, 5),
          ('2026-01-02', 'C', 'properties.x', 'phone', 0, 7),
          ('2026-01-03', 'B', 'properties.x', 'phone', 0, 1),
          ('2026-01-02', null, 'traits.y', 'phone', 0, 3000000000),
          ('2026-01-02', 'A', 'properties.z', 'ip', 0, 1)
      ) as given (day, name, property, kind, backend, found)
      left join track.event_type using (name)
    `);
    const rows = (period: string): Promise<unknown[]> =>
      db.rows(
        `select event, property, kind, found, first_day::text as first, last_day::text as last from track.personal_data_found(${period})`,
      );
    expect(await rows("'2026-01-01', '2026-01-31'")).toEqual([
      {
        event: null,
        property: "traits.y",
        kind: "phone",
        found: "3000000000",
        first: "2026-01-02",
        last: "2026-01-02",
      },
      { event: "A", property: "properties.x", kind: "e-mail", found: "10", first: "2026-01-01", last: "2026-01-05" },
      { event: "B", property: "properties.x", kind: "phone", found: "8", first: "2026-01-02", last: "2026-01-03" },
    ]);
    expect(await rows("'2026-01-02', '2026-01-04'")).toMatchObject([{ found: "3000000000" }, { found: "8" }]);
    expect(await rows("'2026-01-04', '2026-01-02'")).toEqual([]);
    expect(await rows("null, null")).toEqual([]);
    expect(await rows("'-infinity', 'infinity'")).toHaveLength(3);
  });
});

test("contains today, by default, and equals what is counted per message", async () => {
  await database.as("postgres", {}, async (db) => {
    const values = ["x", "ada@example.org", "0170 1234567 or +49 170 1234567"];
    for (const value of values) {
      await ingest(db, [message({ properties: { value, ip: "203.0.113.9" } }), message({ properties: { value } })]);
    }
    expect(
      await db.rows(
        "select property, kind, found, last_day = (now() at time zone 'UTC')::date as today from track.personal_data_found()",
      ),
    ).toEqual([
      { property: "properties.value", kind: "phone", found: "4", today: true },
      { property: "properties.value", kind: "e-mail", found: "2", today: true },
    ]);
  });
});

test("is for administrators and workers", async () => {
  expect(await rolesThatMay(database, "select track.personal_data_found()")).toEqual(["admin", "worker"]);
});
