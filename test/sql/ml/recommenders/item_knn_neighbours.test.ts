import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference, dot, transpose } from "../../../support/matrix.ts";
import { coding, matrixOf, shuffled, uses } from "./neighbours.ts";

const database = await lab();
const { load, rows, weights, refused } = await coding(database);

/** The similarity of each pair of items, from their columns. */
function similarities(
  columns: readonly (readonly number[])[],
  similarity: (a: readonly number[], b: readonly number[]) => number,
): number[][] {
  return columns.map((a, i) => columns.map((b, j) => (i === j || dot(a, b) === 0 ? 0 : similarity(a, b))));
}

describe("ml.item_knn_neighbours", () => {
  test("gives the similarities of the columns of the matrix", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 25 }),
        fc.integer({ min: 1, max: 10 }),
        fc.integer(),
        fc.constantFrom(0, 0.5, 20),
        async (people, items, seed, shrinkage) => {
          const made = uses(people, items, seed);
          await load(made);
          const columns = transpose(matrixOf(made, people, items));
          const cosine = similarities(
            columns,
            (a, b) => dot(a, b) / (Math.sqrt(dot(a, a)) * Math.sqrt(dot(b, b)) + shrinkage),
          );
          expect(
            difference(await weights(`ml.item_knn_neighbours('lab.coded', 'cosine', ${shrinkage})`, items), cosine),
          ).toBeLessThan(1e-6);
          const people_ = (a: readonly number[], b: readonly number[], both: boolean): number =>
            a.filter((value, i) => (both ? value > 0 && (b[i] ?? 0) > 0 : value > 0 || (b[i] ?? 0) > 0)).length;
          const jaccard = similarities(columns, (a, b) => people_(a, b, true) / (people_(a, b, false) + shrinkage));
          expect(
            difference(await weights(`ml.item_knn_neighbours('lab.coded', 'jaccard', ${shrinkage})`, items), jaccard),
          ).toBeLessThan(1e-6);
        },
      ),
      { numRuns: 30 },
    );
  });

  test("counts the last items of a person only", async () => {
    const made = [1, 2, 3, 4].map((item) => ({ person: 1, item, weight: 1, position: item === 3 ? null : item }));
    await load(made);
    expect(await rows("ml.item_knn_neighbours('lab.coded', max_items => 2)")).toEqual([
      { item_no: 2, neighbours: [4], weights: [1] },
      { item_no: 4, neighbours: [2], weights: [1] },
    ]);
  });

  test("does not depend on the order of the rows or on the settings of the session", async () => {
    const made = uses(60, 12, 7).map((use) => ({ ...use, weight: use.weight / 3 }));
    await load(made);
    const call =
      "select item_no, neighbours, hash_array_extended(weights, 0) from ml.item_knn_neighbours('lab.coded', shrinkage => 3) as list";
    const before = await database.rows(call);
    await load(shuffled(made, 3));
    const settings = {
      work_mem: "64kB",
      enable_hashagg: "off",
      extra_float_digits: "0",
      DateStyle: "SQL, DMY",
      search_path: "pg_catalog",
    };
    expect(await database.as("insights_analyst", settings, (db) => db.rows(call))).toEqual(before);
  });

  test("is empty without pairs, and refuses invalid parameters", async () => {
    await load([]);
    expect(await rows("ml.item_knn_neighbours('lab.coded')")).toEqual([]);
    await load([{ person: 1, item: 1, weight: 1, position: 1 }]);
    expect(await rows("ml.item_knn_neighbours('lab.coded')")).toEqual([]);
    for (const [more, message] of [
      ["'pearson'", "similarity is pearson"],
      ["null", "similarity is null"],
      ["shrinkage => -1", "shrinkage is -1"],
      ["shrinkage => 'NaN'", "shrinkage is NaN"],
      ["shrinkage => 'Infinity'", "shrinkage is Infinity"],
      ["max_items => 1", "max_items is 1"],
      ["column_limit => 1001", "column_limit is 1001"],
    ]) {
      const error = await refused(`ml.item_knn_neighbours('lab.coded', ${more})`);
      expect(error).toMatchObject({ code: "CF001", message });
      expect(error.hint).toBeTruthy();
    }
  });
});
