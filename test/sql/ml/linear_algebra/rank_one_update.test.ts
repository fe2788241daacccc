import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { positive, random, seed, size, wild } from "./linear_algebra.ts";

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

  test("of entries of any size is a matrix or an error that names it", async () => {
    await wild(database, "select ml.rank_one_update($1::text[]::vector[], ($2::text[]::vector[])[1])");
    // (P⁻¹ + x xᵀ)⁻¹ of P = diag(1e-15, 1e-27) and x = (1, 1) is P but for terms that single precision cannot hold.
    expect(
      algebra.fromSql(
        await database.value("select ml.rank_one_update('{\"[1e-15,0]\",\"[0,1e-27]\"}', '[1,1]')::text[]"),
      ),
    ).toEqual([
      [expect.closeTo(1e-15, 21), expect.closeTo(-1e-42, 43)],
      [expect.closeTo(-1e-42, 43), expect.closeTo(1e-27, 33)],
    ]);
    expect(await database.rejects("select ml.rank_one_update('{\"[1]\"}', '[1]', 1e300)")).toMatchObject({
      code: "CF001",
      message: "the weight is 1e+300, not between 1e-36 and 1e36 in absolute value",
    });
  });
});
