import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";
import { submit } from "./values.ts";

const database = await testDatabase();

test("are as of the last refresh, beside the times of the journeys", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", "pro"],
      ["ada", "02", undefined],
      ["ada", "03", "free"],
      ["ben", "02", undefined],
    ]);
    // Equal times and items, in any order of arrival.
    const at = { userId: "ada", timestamp: "2026-03-02T09:00:00Z" };
    for (const plan of ["z", "a", "m", undefined])
      await ingest(db, [message({ ...at, properties: plan === undefined ? {} : { plan } })]);
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    const rows = () =>
      db.rows(
        `select day::text, value, event_count
         from track.stored_values(array[track.find_person('ada')], '{2026-03-01}', '{2026-03-03}')
         left join track.property_value using (value_id) order by day, value collate "C"`,
      );
    expect(await rows()).toEqual([]);
    await refresh(db);
    const all = [
      { day: "2026-03-01", value: "pro", event_count: 1 },
      { day: "2026-03-02", value: "a", event_count: 1 },
      { day: "2026-03-02", value: "m", event_count: 1 },
      { day: "2026-03-02", value: "z", event_count: 1 },
      { day: "2026-03-02", value: null, event_count: 2 },
    ];
    expect(await rows()).toEqual(all);
    await submit(db, [["ada", "01", "new"]]);
    expect(await rows()).toEqual(all);
    // No row for ben, none of whose events has a value.
    expect(
      await db.rows(
        `select array(select (select value from track.property_value where property_value.value_id = listed)
           from unnest(value_ids) as listed) as values from track.step_value`,
      ),
    ).toEqual([{ values: ["pro", "a", "m", "z", null, null, "free"] }]);
    expect(await db.value("select count(*)::int from track.stored_values('{}', '{}', '{}')")).toBe(0);
  });
});

test("a value is removed with the last event that has it", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", "ada@example.org"],
      ["ada", "01", "pro"],
      ["ben", "01", "pro"],
    ]);
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    await refresh(db);
    const values = () => db.rows("select value from track.property_value order by value");
    expect(await values()).toEqual([{ value: "ada@example.org" }, { value: "pro" }]);
    await db.query("delete from track.event where person_id = track.find_person('ada')");
    await db.query(
      "insert into track.stale (person_id, since, until) values (track.find_person('ada'), '-infinity', 'infinity')",
    );
    await refresh(db);
    expect(await values()).toEqual([{ value: "pro" }]);
    expect(
      await db.value("select count(*)::int from track.step_value where person_id = track.find_person('ada')"),
    ).toBe(0);
  });
});
