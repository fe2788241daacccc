import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { positive, random, seed, size } from "./linear_algebra.ts";

const database = await testDatabase();

describe("a rank-one update", () => {
  test("equals the inversion of the changed matrix, and is undone by its opposite", async () => {
    await fc.assert(
      fc.asyncProperty(size, seed, fc.constantFrom(1, 0.5, 3), async (n, seed, weight) => {
        const matrix = positive(n, seed, n + 1);
        const [x = []] = random(1, n, seed + 1);
        const update = async (inverse: algebra.Matrix, by: number): Promise<number[][]> =>
          algebra.fromSql(
            await database.value<string[]>(
              "select ml.rank_one_update($1::text[]::vector[], $2::text::vector, $3)::text[]",
              [algebra.toSql(inverse), JSON.stringify(x), by],
            ),
          );
        const before = algebra.inverse(matrix);
        const after = algebra.inverse(
          matrix.map((row, i) => row.map((v, j) => v + weight * (x[i] ?? 0) * (x[j] ?? 0))),
        );
        const updated = await update(before, weight);
        expect(algebra.difference(updated, after)).toBeLessThan(1e-5);
        expect(algebra.difference(await update(updated, -weight), before)).toBeLessThan(1e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("refuses what would leave no inverse", async () => {
    const error = await database.rejects("select ml.rank_one_update('{\"[1,0]\", \"[0,1]\"}', '[2,0]', -1)");
    expect(error.code).toBe("CF007");
    expect(error.message).toContain("is -3");
    expect((await database.rejects("select ml.rank_one_update('{\"[1]\"}', '[1,2]')")).code).toBe("CF001");
    expect((await database.rejects("select ml.rank_one_update('{\"[1]\"}', '[1]', 'NaN')")).code).toBe("CF001");
  });
});
