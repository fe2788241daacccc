import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { refresh } from "./messages.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();

test("are the events of each person by value, with those that are queued, once the property is complete", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", "pro"],
      ["ada", "02", "pro"],
      ["ada", "03", undefined],
      ["ben", "05", "free"],
    ]);
    await db.query("select track.declare_property('Task Submitted', 'plan')");
    const rows = () =>
      db.rows(
        `select external_id as person, bucket, value, sum(event_count)::int as events
         from track.value_buckets(${typeOf()}, 'plan', '{2026-03-01 10:00Z,2026-03-02 10:00Z,2026-03-03 11:00Z,2026-03-09 00:00Z}')
         join track.identity using (person_id) group by 1, 2, 3 order by 1, 2, 3`,
      );
    expect(await rows()).toEqual([]);
    await refresh(db);
    const before = [
      { person: "ada", bucket: 1, value: "pro", events: 1 },
      { person: "ada", bucket: 2, value: "pro", events: 1 },
      { person: "ada", bucket: 2, value: null, events: 1 },
      { person: "ben", bucket: 3, value: "free", events: 1 },
    ];
    expect(await rows()).toEqual(before);
    await submit(db, [
      ["ada", "02", "new"],
      ["cleo", "02", "pro"],
    ]);
    const after = [
      ...before.slice(0, 1),
      { person: "ada", bucket: 2, value: "new", events: 1 },
      ...before.slice(1),
      { person: "cleo", bucket: 2, value: "pro", events: 1 },
    ];
    expect(await rows()).toEqual(after);
    await refresh(db);
    expect(await rows()).toEqual(after);
  });
});
