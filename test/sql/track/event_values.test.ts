import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { submit, typeOf } from "./values.ts";

const database = await testDatabase();

test("are the texts of a property of the stored events, of the first 200 characters", async () => {
  await database.as("postgres", {}, async (db) => {
    await submit(db, [
      ["ada", "01", 1],
      ["ada", "01", "1"],
      ["ada", "01", true],
      ["ada", "02", ["a", 1]],
      ["ada", "02", null],
      ["ada", "02", undefined],
      ["ada", "02", "x".repeat(300)],
      ["ada", "03", "too late"],
    ]);
    await submit(db, [["ada", "01", "of another event"]], "Other");
    expect(
      await db.rows(
        `select day::text, value, event_count from track.event_values(
           array[track.find_person('ada')], '{2026-03-01}', '{2026-03-03}', ${typeOf()}, 'plan'
         ) order by day, value collate "C"`,
      ),
    ).toEqual([
      { day: "2026-03-01", value: "1", event_count: 2 },
      { day: "2026-03-01", value: "true", event_count: 1 },
      { day: "2026-03-02", value: '["a", 1]', event_count: 1 },
      { day: "2026-03-02", value: "x".repeat(200), event_count: 1 },
      { day: "2026-03-02", value: null, event_count: 2 },
    ]);
    expect(await db.value("select count(*)::int from track.event_values('{}', '{}', '{}', 1, 'plan')")).toBe(0);
  });
});
