import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference, multiply, transpose } from "../../../support/matrix.ts";
import { coding, matrixOf, uses } from "./neighbours.ts";

const database = await lab();
const { load, refused } = await coding(database);

test("ml.ease_coded_sums gives XᵀX with people that count by a power of their number of items", async () => {
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
        const numbers = [...new Set(made.map(({ item }) => item))].sort((a, b) => a - b);
        const x = matrixOf(made, people, items)
          .map((row) => numbers.map((item) => row[item - 1] ?? 0))
          .filter((row) => row.some((value) => value > 0));
        const factors = x.map((row) => row.filter((value) => value > 0).length ** -exponent);
        const mean = factors.reduce((sum, value) => sum + value, 0) / factors.length;
        const weighted = x.map((row, person) => row.map((value) => (value * (factors[person] ?? 0)) / mean));
        const { rows } = await database.query(
          `select sums.items, sums.person_counts, array(select v::real[] from unnest(sums.gram) as v) as gram
           from ml.ease_coded_sums('lab.coded', ${exponent}) as sums`,
        );
        expect(rows[0].items).toEqual(numbers.map(String));
        expect(rows[0].person_counts).toEqual(numbers.map((_, i) => x.filter((row) => (row[i] ?? 0) > 0).length));
        const expected = multiply(transpose(x), weighted);
        const unit = Math.max(1, ...expected.flat());
        expect(difference(rows[0].gram, expected) / unit).toBeLessThan(1e-6);
      },
    ),
    { numRuns: 30 },
  );
});

test("ml.ease_coded_sums refuses invalid exponents, other columns and no rows", async () => {
  await load([{ person: 1, item: 1, weight: 1, position: null }]);
  for (const exponent of ["-1", "'NaN'", "null", "3"]) {
    expect(await refused(`ml.ease_coded_sums('lab.coded', ${exponent})`)).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("person_exponent is"),
    });
  }
  expect(await refused("ml.ease_coded_sums('pg_catalog.pg_class')")).toMatchObject({ code: "CF002" });
  await load([]);
  expect(await refused("ml.ease_coded_sums('lab.coded')")).toMatchObject({ code: "CF004" });
});
