import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { ingest, message, refresh } from "./messages.ts";

const database = await testDatabase();

test("are those of all items of a course, by month, as its bits are", async () => {
  await database.as("postgres", {}, async (db) => {
    const used = (userId: string, month: string, item: string) =>
      message({ userId, timestamp: `2026-${month}-05T10:00:00Z`, properties: { item } });
    await ingest(db, [
      { ...used("ada", "01", "page"), properties: { item: "page", itemKind: "page", parent: "module" } },
      { ...used("ada", "01", "module"), properties: { item: "module", itemKind: "module", parent: "course" } },
      { ...used("ben", "02", "course"), properties: { item: "course", itemKind: "course" } },
      used("ben", "03", "page"),
      used("cleo", "03", "elsewhere"),
    ]);
    await refresh(db);
    const people = (since: string, until: string) =>
      db.rows(
        `select month::text, external_id as person
         from track.course_people(array(select item_id from track.item where external_id in ('course', 'module')), $1, $2) as used
         join track.identity on identity_id = used.person_id order by 1, 2`,
        [since, until],
      );
    const all = [
      { month: "2026-01-01", person: "ada" },
      { month: "2026-02-01", person: "ben" },
      { month: "2026-03-01", person: "ben" },
    ];
    expect(await people("-infinity", "infinity")).toEqual(all);
    expect(await people("2026-02-01", "2026-03-01")).toEqual([all[1]]);
    expect(
      await db.rows(
        `select month::text, external_id as person from track.course_presence
         join track.identity on identity_id / 4096 = block and get_bit(people, (identity_id % 4096)::int) = 1 order by 1, 2`,
      ),
    ).toEqual(all);
  });
});
