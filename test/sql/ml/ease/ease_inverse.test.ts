import fc from "fast-check";
import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { matrix, some } from "./ease.ts";

const database = await testDatabase();

test("is the inverse of the sums with lambda on their diagonal", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 12 }),
      fc.integer(),
      fc.constantFrom(0.5, 10, 458),
      async (items, seed, lambda) => {
        const x = matrix(some(20, items, seed));
        const gram = algebra.multiply(algebra.transpose(x), x);
        const expected = algebra.inverse(algebra.add(gram, algebra.identity(gram.length, lambda)));
        const inverse = algebra.fromSql(
          await database.value<string[]>("select ml.ease_inverse($1::text[]::vector[], $2)::text[]", [
            algebra.toSql(gram),
            lambda,
          ]),
        );
        expect(algebra.difference(inverse, expected)).toBeLessThan(1e-5);
      },
    ),
    { numRuns: 20 },
  );
});

test.each([
  ["no lambda", "'{\"[1]\"}', null", "CF001"],
  ["a lambda of zero", "'{\"[1]\"}', 0", "CF001"],
  ["a lambda that is no number", "'{\"[1]\"}', 'NaN'", "CF001"],
  ["an infinite lambda", "'{\"[1]\"}', 'Infinity'", "CF001"],
  ["what is not square", "'{\"[1,2]\"}', 5", "CF001"],
  ["rows of several lengths", '\'{"[1,2]", "[1]"}\', 5', "CF001"],
  ["what is not symmetric", '\'{"[1,2]", "[3,4]"}\', 5', "CF001"],
  ["no rows", "'{}', 5", "CF004"],
  ["null", "null, 5", "CF004"],
])("%s is refused", async (_, parameters, code) => {
  expect(await database.rejects(`select ml.ease_inverse(${parameters})`)).toMatchObject({ code });
});
