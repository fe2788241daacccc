import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

test("are the days of people whose events, or whose counting, changed since the last refresh", async () => {
  await database.as("postgres", {}, async (db) => {
    const at = (day: string) => `2026-03-${day}T10:00:00Z`;
    await ingest(db, [
      message({ userId: "ada", timestamp: at("10") }),
      message({ userId: "ben", timestamp: at("10") }),
    ]);
    await refresh(db);
    const queued = (people = "null") =>
      db.rows(
        `select identity.external_id as person, first_day::text, end_day::text
         from track.queued_days('2026-03-05', '2026-03-20', ${people}) as queued
         cross join unnest(queued.people, queued.first_days, queued.end_days) as listed (person_id, first_day, end_day)
         join track.identity on identity.identity_id = listed.person_id order by 1`,
      );
    expect(await queued()).toEqual([]);
    expect(await db.value("select people is null from track.queued_days('2026-03-05', '2026-03-20')")).toBe(true);

    await ingest(db, [
      message({ userId: "ada", timestamp: at("12") }),
      message({ userId: "ada", timestamp: at("07") }),
      message({ userId: "ben", timestamp: at("01") }),
    ]);
    const ada = { person: "ada", first_day: "2026-03-07", end_day: "2026-03-13" };
    expect(await queued()).toEqual([ada]);
    // Excluded: no sum contains her any more.
    await db.query("select track.exclude_person('ben', 'test')");
    const ben = { person: "ben", first_day: "2026-03-05", end_day: "2026-03-20" };
    expect(await queued()).toEqual([ada, ben]);
    expect(
      await db.rows(
        "select person_id = track.find_person('ben') as is_ben from track.moved_people() as moved (person_id)",
      ),
    ).toEqual([{ is_ben: true }]);
    expect(await queued("array[track.find_person('ben')]")).toEqual([ben]);
    await refresh(db);
    expect(await queued()).toEqual([]);
    expect(
      await db.value(
        "select count(*)::int from track.queued_days('2026-03-20', '2026-03-05') as queued where people is not null",
      ),
    ).toBe(0);
  });
});
