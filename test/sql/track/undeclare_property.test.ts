import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { refresh } from "./messages.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();

test("removes everything that is stored of the property, under each name of the event, and of no other", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [["ada", "01", "pro"]], "Old");
    await submit(db, [["ada", "01", "free"]], "New");
    await db.query("select track.declare_property('Old', 'plan'), track.declare_property('New', 'other')");
    await refresh(db);
    await db.query("select track.merge_events('Old', 'New')");
    await refresh(db);
    const stored = () =>
      db.rows(
        `select name, property, (select count(*)::int from track.property_value where property_id = declared.property_id) as values,
           (select sum(event_count)::int from track.value_presence where property_id = declared.property_id) as events
         from track.declared_property as declared join track.event_type using (event_type_id) order by 1, 2`,
      );
    expect(await stored()).toEqual([
      { name: "New", property: "other", values: 0, events: 2 },
      { name: "New", property: "plan", values: 2, events: 2 },
      { name: "Old", property: "plan", values: 0, events: null },
    ]);
    expect(await db.value("select track.undeclare_property('New', 'plan')")).toBe(true);
    expect(await stored()).toEqual([{ name: "New", property: "other", values: 0, events: 2 }]);
    expect(await db.value("select count(*)::int from track.step_value")).toBe(0);
    expect(await db.value(`select track.is_property_complete(${typeOf("New")}, 'plan')`)).toBeNull();
    expect(await db.value("select track.undeclare_property('New', 'plan')")).toBe(false);
    // A later change of names does not bring it back.
    await db.query("select track.unmerge_events('Old')");
    await db.query("select track.merge_events('Old', 'New')");
    await refresh(db);
    expect((await stored()).map(({ name, property }) => [name, property])).toEqual([["New", "other"]]);
    expect(await db.rejects("select track.undeclare_property('Nwe', 'plan')")).toMatchObject({ code: "CF002" });
  });
});
