import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference, inverse, multiply, transpose } from "../../../support/matrix.ts";
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

  test("counts people by a power of their number of items, also as dense weights", async () => {
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
          const numbers = [...new Set(made.map(({ item }) => item))].sort((a, b) => a - b);
          const dense = await database.rows<{ weights: number[] }>(
            `select unnest(ml.edlae_weights(sums, ${arguments_}))::real[] as weights
             from ml.ease_coded_sums('lab.coded', ${exponent}) as sums`,
          );
          expect(
            difference(
              dense.map((row) => row.weights),
              numbers.map((i) => numbers.map((j) => expected[i - 1]?.[j - 1] ?? 0)),
            ),
          ).toBeLessThan(2e-6);
        },
      ),
      { numRuns: 20 },
    );
    await load([{ person: 1, item: 1, weight: 1, position: null }]);
    for (const exponent of ["-1", "'NaN'", "null", "3"]) {
      const call = `ml.ease_coded_sums('lab.coded', ${exponent})`;
      expect(await refused(call)).toMatchObject({ code: "CF001", message: expect.stringContaining("person_exponent") });
    }
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
});
