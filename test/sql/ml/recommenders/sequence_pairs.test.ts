import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { coding, uses } from "./neighbours.ts";

const database = await lab();
const { load } = await coding(database);

/** Sums of a statement, as "source target" → total. */
const sums = async (call: string): Promise<Map<string, number>> => {
  const statement = await database.value<string>(`select ${call}`);
  const found = await database.rows<{ source_no: number; target_no: number; total: string }>(statement);
  return new Map(found.map(({ source_no, target_no, total }) => [`${source_no} ${target_no}`, Number(total)]));
};

test("ml.sequence_pairs counts pairs in whole numbers that add up over people", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer(),
      fc.constantFrom(1, 3, 50),
      async (people, items, seed, reach) => {
        const made = uses(people, items, seed);
        const expected = new Map<string, number>();
        for (const a of made) {
          for (const b of made) {
            if (a.person !== b.person || a.item === b.item || a.position === null || b.position === null) continue;
            const distance = b.position - a.position;
            if (distance < 1 || distance > reach || a.weight <= 0 || b.weight <= 0) continue;
            const key = `${a.item} ${b.item}`;
            const counted = Math.fround(a.weight) * Math.fround(b.weight) * 0.5 ** (distance - 1) * 1024;
            // Halves are rounded to even numbers, as by a cast to bigint.
            const rounded = counted % 1 === 0.5 ? 2 * Math.round(counted / 2) : Math.round(counted);
            expected.set(key, (expected.get(key) ?? 0) + rounded);
          }
        }
        const call = `ml.sequence_pairs('lab.coded', 1 / 1024.0, 'geometric', 0.5, ${reach})`;
        await load(made);
        expect(await sums(call)).toEqual(expected);
        const total = new Map<string, number>();
        for (const half of [0, 1]) {
          await load(made.filter(({ person }) => person % 2 === half));
          for (const [key, value] of await sums(call)) total.set(key, (total.get(key) ?? 0) + value);
        }
        expect(total).toEqual(expected);
      },
    ),
    { numRuns: 20 },
  );
});

test("ml.sequence_pairs refuses invalid parameters", async () => {
  for (const [more, message] of [
    ["0", "unit is 0"],
    ["null", "unit is null"],
    ["1, 'linear'", "decay_form is linear"],
    ["1, 'geometric', 2", "decay is 2"],
    ["1, 'geometric', 0.5, 0", "max_distance is 0"],
  ])
    expect(await database.rejects(`select ml.sequence_pairs('lab.coded', ${more})`)).toMatchObject({
      code: "CF001",
      message,
    });
  expect((await database.rejects("select ml.sequence_pairs('pg_catalog.pg_class', 1)")).code).toBe("CF002");
});
