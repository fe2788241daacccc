import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";
import { ingest, refresh } from "./messages.ts";

const database = await testDatabase();

test("the transitions in the sessions of a month, of counted people", async () => {
  await database.as("postgres", {}, async (db) => {
    await ingest(
      db,
      ["ada", "ben", "staff", "browser"].flatMap((who) =>
        ["a", "b", "b", null, "a", "b"].map((item, index) => ({
          type: "page",
          messageId: `${who} ${index}`,
          ...(who === "browser" ? { anonymousId: who } : { userId: who }),
          timestamp: `2026-03-05T10:0${index}:00Z`,
          properties: item === null ? {} : { item },
        })),
      ),
    );
    await db.query("select track.exclude_person('staff', 'staff')");
    await refresh(db);
    const rows = (month: string) =>
      db.rows(
        `select source.external_id || target.external_id as pair, transition_count::int as times, person_count as people,
           elapsed / 60000000 as minutes
         from track.month_transitions($1) as transition
         join track.item as source on source.item_id = transition.source_item_id
         join track.item as target on target.item_id = transition.target_item_id
         order by 1`,
        [month],
      );
    expect(await rows("2026-03-01")).toEqual([
      { pair: "ab", times: 4, people: 2, minutes: "4" },
      { pair: "ba", times: 2, people: 2, minutes: "4" },
    ]);
    expect(
      await db.rows(
        `select sum(transition_count)::int as times, max(person_count) as people
         from (select person_id from track.identity where external_id = 'staff') as staff
         cross join lateral track.month_transitions(
           '2026-03-01', array[person_id / 4096]::int[], array[track.person_bit(person_id)]
         )`,
      ),
    ).toEqual([{ times: 3, people: 1 }]);
    expect(await rows("2026-02-01")).toEqual([]);
    expect(await rows("2026-04-01")).toEqual([]);
  });
});

test("is for admins", async () => {
  expect(await rolesThatMay(database, "select * from track.month_transitions('2026-03-01')")).toEqual(["admin"]);
});
