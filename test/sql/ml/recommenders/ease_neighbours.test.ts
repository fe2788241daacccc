import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab } from "../../../support/lab.ts";
import { difference, inverse, multiply, transpose } from "../../../support/matrix.ts";
import { isFull } from "../../../support/runs.ts";
import { coding, matrixOf, uses, zeros } from "./neighbours.ts";

const database = await lab();
const { load, rows, weights, refused } = await coding(database);

/**
 * The least squares that EASE and EDLAE solve, column by column and without their closed form: the column of item j is
 * regressed on the other items, with a ridge for each of them.
 */
function regressions(x: readonly (readonly number[])[], ridges: readonly number[]): number[][] {
  const gram = multiply(transpose(x), x);
  const b = zeros(gram.length);
  gram.forEach((_, j) => {
    const others = gram.flatMap((_row, i) => (i === j ? [] : [i]));
    if (others.length === 0) return;
    const a = others.map((i) => others.map((k) => (gram[i]?.[k] ?? 0) + (i === k ? (ridges[i] ?? 0) : 0)));
    const solution = multiply(
      inverse(a),
      others.map((i) => [gram[i]?.[j] ?? 0]),
    );
    others.forEach((i, place) => {
      const row = b[i];
      if (row !== undefined) row[j] = solution[place]?.[0] ?? 0;
    });
  });
  return b;
}

describe("ml.ease_neighbours", () => {
  test("solves the least squares of EASE, of EDLAE, and with a ridge that grows with the number of people", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer(),
        fc.constantFrom([2, 0, 0], [20, 0, 0.3], [0, 0, 0.5], [3, 1, 0], [5, 0.5, 0.2]),
        async (people, items, seed, [lambda, exponent, dropout]) => {
          const made = uses(people, items, seed).map((use) => ({ ...use, weight: use.weight + 0.25 }));
          fc.pre(made.length > 0);
          await load(made);
          const x = matrixOf(made, people, items);
          const ridges = transpose(x).map(
            (column) =>
              (lambda ?? 0) * column.filter((value) => value > 0).length ** (exponent ?? 0) +
              ((dropout ?? 0) / (1 - (dropout ?? 0))) * column.reduce((sum, value) => sum + value * value, 0),
          );
          // an item without people has no row and no column: its ridge only has to be positive
          const expected = regressions(
            x,
            ridges.map((ridge) => ridge || 1),
          );
          expect(
            difference(
              await weights(`ml.ease_neighbours('lab.coded', ${lambda}, ${exponent}, ${dropout})`, items),
              expected,
            ),
          ).toBeLessThan(2e-6);
        },
      ),
      { numRuns: 40 },
    );
  });

  test("counts people by a power of their number of items", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer(),
        fc.constantFrom(0, 0.5, 1),
        async (people, items, seed, exponent) => {
          const made = uses(people, items, seed).map((use) => ({ ...use, weight: use.weight + 0.25 }));
          fc.pre(made.length > 0);
          await load(made);
          const x = matrixOf(made, people, items).filter((row) => row.some((value) => value > 0));
          const factors = x.map((row) => row.filter((value) => value > 0).length ** -exponent);
          const mean = factors.reduce((sum, value) => sum + value, 0) / factors.length;
          const scaled = x.map((row, i) => row.map((value) => value * Math.sqrt((factors[i] ?? 0) / mean)));
          const ridges = transpose(scaled).map(
            (column) => 4 + column.reduce((sum, value) => sum + value * value, 0) * (0.3 / 0.7),
          );
          const expected = regressions(scaled, ridges);
          const arguments_ = "4, dropout => 0.3";
          const lists = `ml.ease_neighbours('lab.coded', ${arguments_}, person_exponent => ${exponent})`;
          expect(difference(await weights(lists, items), expected)).toBeLessThan(2e-6);
        },
      ),
      { numRuns: 20 },
    );
  });

  test("has no neighbours for one item, and refuses no rows and invalid parameters", async () => {
    await load([{ person: 1, item: 1, weight: 1, position: null }]);
    expect(await rows("ml.ease_neighbours('lab.coded', 1)")).toEqual([]);
    for (const [more, message] of [
      ["0", "lambda is 0"],
      ["-1", "lambda is -1"],
      ["'NaN'", "lambda is NaN"],
      ["null", "lambda is null"],
      ["1, 'NaN'", "exponent is NaN"],
      ["1, 3", "exponent is 3"],
      ["1, 0, 1", "dropout is 1"],
      ["1, 0, -0.1", "dropout is -0.1"],
      ["-1, 0, 0.1", "lambda is -1"],
      ["1, column_limit => 0", "column_limit is 0"],
    ]) {
      const error = await refused(`ml.ease_neighbours('lab.coded', ${more})`);
      expect(error).toMatchObject({ code: "CF001", message });
      expect(error.hint).toBeTruthy();
    }
    await load([]);
    expect(await refused("ml.ease_neighbours('lab.coded', 1)")).toMatchObject({ code: "CF004" });
  });

  // On the embedded database, which takes four times as long for the same numbers, with `--full` only.
  const hasTime = database.native || isFull;
  test.skipIf(!hasTime || !hasDataset("movielens_100k/ratings"))(
    "lists rank as all weights do on MovieLens-100k",
    async () => {
      // Every fifth rating is held out; all films that the person has not rated in the other ones are ranked.
      const ratings = dataset("movielens_100k/ratings").map((row, i) => ({
        person: Number(row["user_id"]),
        item: Number(row["movie_id"]),
        weight: 1,
        position: null,
        isHeldOut: i % 5 === 0,
      }));
      await load(ratings.filter((row) => !row.isHeldOut));
      const own = new Map<number, Set<number>>();
      const wanted = new Map<number, Set<number>>();
      for (const { person, item, isHeldOut } of ratings) {
        const items = isHeldOut ? wanted : own;
        items.set(person, (items.get(person) ?? new Set()).add(item));
      }
      const items = [...new Set(ratings.filter((row) => !row.isHeldOut).map((row) => row.item))].sort((a, b) => a - b);
      const ndcg = (lists: readonly { item: number; to: readonly number[]; weights: readonly number[] }[]): number => {
        const byItem = new Map(lists.map((list) => [list.item, list]));
        let sum = 0;
        for (const [person, hidden] of wanted) {
          const scores = new Float64Array(1_683);
          const taken = own.get(person) ?? new Set();
          for (const item of taken) {
            const { to = [], weights: given = [] } = byItem.get(item) ?? {};
            for (let at = 0; at < to.length; at++) {
              const target = to[at] ?? 0;
              scores[target] = (scores[target] ?? 0) + (given[at] ?? 0);
            }
          }
          const score = (item: number): number => scores[item] ?? 0;
          const best = items.filter((item) => !taken.has(item)).sort((a, b) => score(b) - score(a) || a - b);
          const gain = best
            .slice(0, 10)
            .reduce((all, item, i) => all + (hidden.has(item) ? 1 / Math.log2(i + 2) : 0), 0);
          let ideal = 0;
          for (let i = 0; i < Math.min(10, hidden.size); i++) ideal += 1 / Math.log2(i + 2);
          sum += gain / ideal;
        }
        return sum / wanted.size;
      };
      const pruned = async (count: number): Promise<number> =>
        ndcg(
          (await rows(`ml.ease_neighbours('lab.coded', 458, column_limit => ${count})`)).map((row) => ({
            item: row.item_no,
            to: row.neighbours,
            weights: row.weights,
          })),
        );
      const dense = await database.rows<{ item: number; weights: number[] }>(
        `select item::int, weights::real[] as weights
       from ml.ease_train('lab.coded', 'person_no', 'item_no', lambda => 458) order by item_no`,
      );
      const all = ndcg(dense.map((row) => ({ item: row.item, to: items, weights: row.weights })));
      expect(all).toBeGreaterThan(0.4);
      expect(await pruned(1_000)).toBeGreaterThan(all - 0.003);
      expect(await pruned(500)).toBeGreaterThan(all - 0.006);
    },
  );
});
