import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot, inverse, multiply, transpose } from "../../../support/matrix.ts";
import { matrix, some } from "./ease.ts";
import { largestError, trained } from "./training.ts";

const database = await lab();

/**
 * The definition of the paper, without its closed form: the weights of each item minimise the squared error that is
 * expected when each other item of a person is left out with probability p, over all possible ways to leave items out.
 * The model then predicts from whole histories, hence the factor 1 - p.
 */
function denoised(x: readonly (readonly number[])[], p: number, lambda: number): number[][] {
  const gram = multiply(transpose(x), x);
  const n = gram.length;
  const b = Array.from({ length: n }, () => Array.from({ length: n }, () => 0));
  for (let j = 0; j < n; j++) {
    const others = gram.flatMap((_, i) => (i === j ? [] : [i]));
    if (others.length === 0) continue;
    const left = others.map(() => others.map(() => 0));
    const right = others.map(() => 0);
    for (let kept = 0; kept < 1 << others.length; kept++) {
      const is = others.map((_, place) => (kept >> place) & 1);
      const chance = is.reduce((product, one) => product * (one === 1 ? 1 - p : p), 1);
      others.forEach((i, row) => {
        right[row] = (right[row] ?? 0) + chance * (is[row] ?? 0) * (gram[i]?.[j] ?? 0);
        others.forEach((k, column) => {
          const entries = left[row];
          if (entries === undefined) return;
          entries[column] = (entries[column] ?? 0) + chance * (is[row] ?? 0) * (is[column] ?? 0) * (gram[i]?.[k] ?? 0);
        });
      });
    }
    left.forEach((row, i) => {
      row[i] = (row[i] ?? 0) + lambda * (1 - p) ** 2;
    });
    inverse(left).forEach((row, place) => {
      const target = b[others[place] ?? 0];
      if (target !== undefined) target[j] = (1 - p) * dot(row, right);
    });
  }
  return b;
}

describe("ml.edlae_train", () => {
  test("minimises the expected error under dropout", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 7 }),
        fc.integer(),
        fc.constantFrom([2, 0.3], [1, 0.5], [10, 0.25], [20, 0]),
        async (people, items, seed, [lambda, p]) => {
          const rows = some(people, items, seed).map((row) => ({ weight: 1, ...row }));
          await load(database, "lab.use", "person text, item int, weight real", rows);
          const names = [...new Set(rows.map((row) => row.item))].sort((a, b) => a - b).map(String);
          const expected = denoised(matrix(rows), p ?? 0, lambda ?? 0);
          const model = await trained(
            database,
            `ml.edlae_train('lab.use', 'person', 'item', 'weight', ${lambda}, ${p})`,
          );
          expect(
            largestError(model, names, (a, b) => expected[names.indexOf(a)]?.[names.indexOf(b)] ?? Number.NaN),
          ).toBeLessThan(2e-6);
        },
      ),
      { numRuns: 25 },
    );
  });

  test("without dropout gives the weights of EASE", async () => {
    await load(database, "lab.use", "person text, item int, weight real", some(40, 9, 4));
    const model = await trained(
      database,
      "ml.edlae_train('lab.use', 'person', 'item', lambda => 7, dropout => 0, exponent => 0.5)",
    );
    const rows = await database.rows<{ item: string; weights: number[] }>(
      "select item, weights::real[] from ml.ease_train('lab.use', 'person', 'item', lambda => 7, exponent => 0.5)",
    );
    const names = rows.map((row) => row.item);
    expect(
      largestError(model, names, (a, b) => rows[names.indexOf(a)]?.weights[names.indexOf(b)] ?? Number.NaN),
    ).toBeLessThan(1e-7);
  });

  test("an all-same matrix gives equal weights, one item none", async () => {
    const same = [1, 2, 3].flatMap((person) => ["a", "b", "c"].map((item) => ({ person, item })));
    await load(database, "lab.use", "person int, item text", same);
    const model = await trained(database, "ml.edlae_train('lab.use', 'person', 'item', lambda => 1)");
    const all = [...model.values()].flatMap((row) => [...row.values()]);
    expect(all).toHaveLength(6);
    for (const weight of all) expect(weight).toBeCloseTo(all[0] ?? 0, 6);
    await load(database, "lab.use", "person int, item text", [{ person: 1, item: "a" }]);
    expect(await database.rows("select * from ml.edlae_train('lab.use', 'person', 'item')")).toEqual([]);
  });

  test("weights of any size give the weights of their ratios", async () => {
    const rows = some(30, 6, 9).map(({ person, item }) => ({ person, item, weight: 1 }));
    await load(database, "lab.use", "person text, item int, weight float8", rows);
    const names = ["0", "10", "20", "30", "40", "50"];
    const expected = await trained(database, "ml.edlae_train('lab.use', 'person', 'item', 'weight', 10)");
    for (const size of [1e-6, 1e6]) {
      await database.query("update lab.use set weight = $1", [size]);
      const lambda = 10 * size ** 2;
      const model = await trained(database, `ml.edlae_train('lab.use', 'person', 'item', 'weight', ${lambda})`);
      const error = largestError(model, names, (a, b) => expected.get(a)?.get(b) ?? 0);
      expect(error, String(size)).toBeLessThan(1e-5);
    }
    await database.query("update lab.use set weight = 1e-25");
    expect(await trained(database, "ml.edlae_train('lab.use', 'person', 'item', 'weight')")).toEqual(new Map());
  });

  test("refuses invalid input, and names the models that hold more items", async () => {
    await load(database, "lab.use", "person int, item int, weight float8", [{ person: 1, item: 1, weight: -5 }]);
    const refused = async (more: string): Promise<string> => {
      const error = await database.rejects(`select * from ml.edlae_train('lab.use', 'person', 'item'${more})`);
      expect(error.hint).toBeTruthy();
      return `${error.code} ${error.message} (${error.hint})`;
    };
    expect(await refused(", 'weight'")).toMatch(/^CF001 lab.use has the weight -5 .*finite number from 0/);
    expect(await refused(", lambda => 0, dropout => 0")).toMatch(/^CF001 lambda is 0 /);
    expect(await refused(", lambda => -1")).toMatch(/^CF001 lambda is -1 /);
    expect(await refused(", lambda => 1e300")).toMatch(/^CF001 lambda is 1e\+300 /);
    expect(await refused(", lambda => 1e-300")).toMatch(/^CF001 lambda is 1e-300 /);
    expect(await refused(", neighbour_count => 0")).toMatch(/^CF001 neighbour_count is 0 /);
    expect(await refused(", dropout => 1")).toMatch(/^CF001 dropout is 1 /);
    expect(await refused(", dropout => 'NaN'")).toMatch(/^CF001 dropout is NaN /);
    await database.query("insert into lab.use select 1, i, 1 from generate_series(1, 16001) as i");
    expect(await refused("")).toMatch(/^CF008 16001 items are too many .*ml\.sequence_train.*ml\.item_knn_train/);
    await database.query("update lab.use set weight = 1e20");
    expect(await refused(", 'weight'")).toMatch(/^CF001 lab.use has the weight 2e\+20 /);
    await database.query("truncate lab.use");
    expect(await refused("")).toMatch(/^CF004 lab.use has no row/);
    const error = await database.as("insights_analyst", {}, (db) =>
      db.rejects("select * from ml.edlae_train('track.event', 'person_id', 'item_id')"),
    );
    expect(error.code).toBe("CF005");
  });
});
