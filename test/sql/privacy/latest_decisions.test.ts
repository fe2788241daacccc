import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

interface Decision {
  person: number;
  purpose: string;
  granted: boolean;
  decided: number;
}

const purposes = ["advertising", "analytics"] as const;

test("is the last decision by its time, then by when it was recorded, of all people and of some", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record<Decision>({
          person: fc.integer({ min: 1, max: 4 }),
          purpose: fc.constantFrom(...purposes),
          granted: fc.boolean(),
          decided: fc.integer({ min: 1, max: 5 }),
        }),
        { maxLength: 20 },
      ),
      fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 3 }),
      async (decisions, people) => {
        await database.as("postgres", {}, async (db) => {
          // Recorded in the order of the list.
          await db.query(
            `insert into privacy.consent (person_id, identity_id, purpose, granted, decided_at, recorded_at)
             select person, person, purpose, granted, timestamptz '2026-01-01' + decided * interval '1 day',
               timestamptz '2026-02-01' + number * interval '1 second'
             from rows from (jsonb_to_recordset($1) as (person int, purpose text, granted boolean, decided int))
               with ordinality as said (person, purpose, granted, decided, number)`,
            [JSON.stringify(decisions)],
          );
          for (const purpose of purposes) {
            const latest = new Map<number, Decision>();
            for (const decision of decisions.filter((one) => one.purpose === purpose)) {
              const former = latest.get(decision.person);
              if (former === undefined || decision.decided >= former.decided) latest.set(decision.person, decision);
            }
            const expected = [...latest.values()]
              .map(({ person, granted }) => ({ person, granted }))
              .sort((a, b) => a.person - b.person);
            const sql = "select person_id::int as person, granted from privacy.latest_decisions($1, $2) order by 1";
            expect(await db.rows(sql, [purpose, null])).toEqual(expected);
            expect(await db.rows(sql, [purpose, people])).toEqual(
              expected.filter(({ person }) => people.includes(person)),
            );
          }
        });
      },
    ),
    { numRuns: 20 },
  );
});

test("nobody decided about a purpose that there is not", async () => {
  expect(await database.rows("select * from privacy.latest_decisions('spying')")).toEqual([]);
  expect(await database.rows("select * from privacy.latest_decisions(null)")).toEqual([]);
});

test("is for roles that read all decisions", async () => {
  expect(await rolesThatMay(database, "select * from privacy.latest_decisions('service')")).toEqual(["admin"]);
});
