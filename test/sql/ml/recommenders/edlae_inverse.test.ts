import fc from "fast-check";
import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { difference, inverse, multiply, transpose } from "../../../support/matrix.ts";
import { coding, matrixOf, uses } from "./neighbours.ts";

const database = await lab();
const { load, refused } = await coding(database);

test("ml.edlae_inverse gives the inverse with a ridge for each item", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 25 }),
      fc.integer({ min: 1, max: 10 }),
      fc.integer(),
      fc.constantFrom([4, 0, 0], [4, 0.5, 0.3], [0, 0, 0.5]),
      async (people, items, seed, [lambda = 0, exponent = 0, dropout = 0]) => {
        const made = uses(people, items, seed).map((use) => ({ ...use, weight: use.weight + 0.25 }));
        fc.pre(made.length > 0);
        await load(made);
        const numbers = [...new Set(made.map(({ item }) => item))].sort((a, b) => a - b);
        const x = matrixOf(made, people, items).map((row) => numbers.map((item) => row[item - 1] ?? 0));
        const expected = inverse(
          multiply(transpose(x), x).map((row, i) =>
            row.map((value, j) => {
              const count = x.filter((own) => (own[i] ?? 0) > 0).length;
              return value + (i === j ? lambda * count ** exponent + (dropout / (1 - dropout)) * value : 0);
            }),
          ),
        );
        const found = await database.rows<{ row: number[] }>(
          `select unnest(ml.edlae_inverse(sums, ${lambda}, ${exponent}, ${dropout}))::real[] as row
           from ml.ease_coded_sums('lab.coded') as sums`,
        );
        const scale = Math.max(...expected.flat().map(Math.abs));
        expect(
          difference(
            found.map(({ row }) => row),
            expected,
          ) / scale,
        ).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 20 },
  );
});

test("ml.edlae_inverse refuses invalid parameters", async () => {
  await load([{ person: 1, item: 1, weight: 1, position: null }]);
  for (const [more, message] of [
    ["0", "lambda is 0"],
    ["1, 3", "exponent is 3"],
    ["1, 0, 1", "dropout is 1"],
  ])
    expect(await refused(`unnest(ml.edlae_inverse(ml.ease_coded_sums('lab.coded'), ${more}))`)).toMatchObject({
      code: "CF001",
      message,
    });
});
