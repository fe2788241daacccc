import fc from "fast-check";
import { expect, test } from "vitest";
import { ingest } from "../sql/track/messages.ts";
import { testDatabase } from "../support/database.ts";
import { runs } from "../support/runs.ts";

/*
 * Sets of people as analysts see them: whatever the sets of a family and the expressions of them, no answer, nothing that
 * is left out, and no difference of an expression to a part of it is a small group.
 */
const database = await testDatabase();

const PEOPLE = 30;
const FLOOR = 4;
const names = ["one", "two", "three", "four", "five"];
const sets = fc.array(fc.uniqueArray(fc.integer({ min: 1, max: PEOPLE }), { maxLength: PEOPLE }), {
  minLength: names.length,
  maxLength: names.length,
});
/** As the set before, with a few changes: random sets are seldom near each other. */
const changes = fc.array(
  fc.record({ isNear: fc.boolean(), changed: fc.uniqueArray(fc.integer({ min: 1, max: PEOPLE }), { maxLength: 4 }) }),
  { minLength: names.length, maxLength: names.length },
);
const term = fc.record({ name: fc.constantFrom(...names), isLeftOut: fc.boolean(), isOfFamily: fc.boolean() });
const expression = fc.array(term, { minLength: 1, maxLength: 5 });

const minus = (one: readonly number[], other: readonly number[]): number =>
  one.filter((person) => !other.includes(person)).length;
const isSmall = (count: number): boolean => count > 0 && count < FLOOR;

test("neither sets nor expressions give a small group", async () => {
  let small = 0;
  await ingest(
    database,
    Array.from({ length: PEOPLE }, (_, index) => ({
      type: "identify",
      messageId: `${index}`,
      userId: `person-${index}`,
    })),
  );
  const ids = (
    await database.rows<{ person_id: string }>("select person_id from track.identity where person_id <> 0")
  ).map(({ person_id }) => Number(person_id));
  expect(ids.length).toBe(PEOPLE);
  await fc.assert(
    fc.asyncProperty(sets, changes, fc.array(expression, { minLength: 4, maxLength: 6 }), async (own, near, asked) => {
      await database.as("postgres", {}, async (db) => {
        const members: number[][] = [];
        for (const [index, set] of own.entries()) {
          const before = members[index - 1];
          const changed = near[index]?.changed ?? [];
          members.push(
            before && near[index]?.isNear
              ? [
                  ...before.filter((person) => !changed.includes(person)),
                  ...changed.filter((person) => !before.includes(person)),
                ]
              : set,
          );
        }
        for (const [index, set] of members.entries())
          for (const name of [`family.${names[index]}`, `${names[index]}`])
            await db.query("select track.set_person_set($1, $2)", [name, set.map((person) => ids[person - 1])]);
        const read = async (among: string): Promise<number[]> =>
          (
            await db.rows<{ person: string }>(
              `with listed as (select array_agg(block) as blocks, array_agg(people) as people from analytics._bits_of($1))
               select entry.person
               from listed
               cross join analytics._among_of($2, $3, listed.blocks, listed.people) as found
               join unnest($1::bigint[]) as entry (person)
                 on found.block = entry.person / 4096 and get_bit(found.people, (entry.person % 4096)::int) = 1`,
              [ids, among, FLOOR],
            )
          ).map(({ person }) => Number(person));

        const singles: number[][] = [];
        for (const name of names) singles.push(await read(`family.${name}`));
        for (const [index, one] of singles.entries())
          for (const [place, other] of singles.entries()) {
            const differences = [minus(one, other), minus(other, one)];
            expect(Math.max(...differences) === 0 || Math.max(...differences) >= FLOOR).toBe(true);
            const exact = [
              minus(members[index] ?? [], members[place] ?? []),
              minus(members[place] ?? [], members[index] ?? []),
            ];
            if (isSmall(Math.max(...exact))) small += 1;
          }

        const text = (terms: (typeof asked)[number]): string =>
          terms
            .map(({ name, isLeftOut, isOfFamily }) => `${isLeftOut ? "~" : ""}${isOfFamily ? "family." : ""}${name}`)
            .join(" & ");
        for (const terms of asked) {
          const whole = await read(text(terms));
          expect([text(terms), isSmall(whole.length)]).toEqual([text(terms), false]);
          expect([text(terms), isSmall(minus(ids, whole))]).toEqual([text(terms), false]);
          for (let left = 1; left < 2 ** terms.length - 1; left += 1) {
            const part = terms.filter((_, index) => left & (1 << index));
            const answer = await read(text(part));
            // The people of more terms are some of these.
            if (minus(whole, answer) === 0)
              expect([text(terms), text(part), isSmall(minus(answer, whole))]).toEqual([
                text(terms),
                text(part),
                false,
              ]);
          }
        }
      });
    }),
    { numRuns: 3 + runs(12, 2, database.native) },
  );
  expect(small).toBeGreaterThan(0);
});
