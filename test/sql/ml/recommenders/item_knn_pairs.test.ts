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

test("ml.item_knn_pairs counts products in whole numbers that add up over people, and people for jaccard", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 20 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer(),
      fc.constantFrom("cosine", "jaccard"),
      async (people, items, seed, similarity) => {
        // One row per person and item.
        const made = [
          ...new Map(uses(people, items, seed).map((use) => [`${use.person} ${use.item}`, use])).values(),
        ].filter(({ weight }) => weight > 0);
        const expected = new Map<string, number>();
        for (const a of made) {
          for (const b of made) {
            if (a.person !== b.person || a.item > b.item) continue;
            const key = `${a.item} ${b.item}`;
            const counted = Math.fround(a.weight) * Math.fround(b.weight) * 1024;
            const rounded = counted % 1 === 0.5 ? 2 * Math.round(counted / 2) : Math.round(counted);
            expected.set(key, (expected.get(key) ?? 0) + (similarity === "jaccard" ? 1 : rounded));
          }
        }
        const call = `ml.item_knn_pairs('lab.coded', 1 / 1024.0, '${similarity}')`;
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

test("ml.item_knn_pairs counts the last items of a person, and refuses invalid parameters", async () => {
  await load([1, 2, 3].map((item) => ({ person: 1, item, weight: 1, position: 4 - item })));
  expect([...(await sums("ml.item_knn_pairs('lab.coded', 1, max_items => 2)")).keys()].sort()).toEqual([
    "1 1",
    "1 2",
    "2 2",
  ]);
  for (const [more, message] of [
    ["-1", "unit is -1"],
    ["1, 'sine'", "similarity is sine"],
    ["1, 'cosine', 1", "max_items is 1"],
  ])
    expect(await database.rejects(`select ml.item_knn_pairs('lab.coded', ${more})`)).toMatchObject({
      code: "CF001",
      message,
    });
});
