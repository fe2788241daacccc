import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { positive, random, seed, size, wild } from "./linear_algebra.ts";

const database = await testDatabase();

describe("ml.low_rank_update", () => {
  test("equals the inversion of the changed matrix, and is undone by its opposite, for few and many columns", async () => {
    await fc.assert(
      fc.asyncProperty(size, seed, fc.integer({ min: 0, max: 12 }), async (n, seed, rank) => {
        const matrix = positive(n, seed, n + 1);
        const columns = random(rank, n, seed + 1);
        const factors = columns.map((_, k) => [1, 0.5, 3][k % 3] ?? 1);
        const update = async (inverse: algebra.Matrix, by: number[]): Promise<number[][]> =>
          algebra.fromSql(
            await database.value<string[]>(
              "select ml.low_rank_update($1::text[]::vector[], $2::text[]::vector[], $3)::text[]",
              [algebra.toSql(inverse), algebra.toSql(columns), by],
            ),
          );
        const before = algebra.inverse(matrix);
        const after = algebra.inverse(
          matrix.map((row, i) =>
            row.map((v, j) => columns.reduce((sum, u, k) => sum + (factors[k] ?? 0) * (u[i] ?? 0) * (u[j] ?? 0), v)),
          ),
        );
        const updated = await update(before, factors);
        expect(algebra.difference(updated, after)).toBeLessThan(1e-5);
        expect(
          algebra.difference(
            await update(
              updated,
              factors.map((factor) => -factor),
            ),
            before,
          ),
        ).toBeLessThan(2e-5);
      }),
      { numRuns: 30 },
    );
  });

  test("of a long chain of weak links, whose inverse has entries too small for single precision", async () => {
    const [n, diagonal] = [60, 1000];
    const chain = (link: (i: number) => number): number[][] =>
      Array.from({ length: n }, (_, i) =>
        Array.from({ length: n }, (_, j) => (i === j ? diagonal : Math.abs(i - j) === 1 ? link(Math.min(i, j)) : 0)),
      );
    const inverse = algebra.fromSql(
      await database.value<string[]>("select ml.inverse($1::text[]::vector[])::text[]", [
        algebra.toSql(chain(() => 1)),
      ]),
    );
    const expected = algebra.inverse(chain(() => 1));
    expect(algebra.difference(inverse, expected)).toBeLessThan(1e-9);
    expect(inverse[0]?.[1]).toBeCloseTo(expected[0]?.[1] ?? 0, 12);
    // One row with the first two items, and one with the last two.
    for (const [name, sql] of [
      ["low_rank_update", "select ml.low_rank_update($1::text[]::vector[], $2::text[]::vector[], '{1, 1}')::text[]"],
      [
        "rank_one_update",
        `select ml.rank_one_update(
           ml.rank_one_update($1::text[]::vector[], ($2::text[])[1]::vector), ($2::text[])[2]::vector
         )::text[]`,
      ],
    ] as const) {
      const columns = [
        Array.from({ length: n }, (_, i) => (i < 2 ? 1 : 0)),
        Array.from({ length: n }, (_, i) => (i >= n - 2 ? 1 : 0)),
      ];
      const updated = algebra.fromSql(
        await database.value<string[]>(sql, [algebra.toSql(inverse), algebra.toSql(columns)]),
      );
      const changed = chain(() => 1).map((row, i) =>
        row.map((v, j) => v + columns.reduce((sum, u) => sum + (u[i] ?? 0) * (u[j] ?? 0), 0)),
      );
      expect([name, algebra.difference(updated, algebra.inverse(changed)) < 1e-9]).toEqual([name, true]);
    }
  });

  test("changes the diagonal, and is the rank-one update for one column", async () => {
    expect(
      await database.value(`select ml.low_rank_update('{"[1,0]", "[0,0.5]"}', '{"[1,0]", "[0,1]"}', '{1, 2}')::text[]`),
    ).toEqual(["[0.5,0]", "[0,0.25]"]);
    const [one, other] = await database.value<string[][]>(
      `select array[
         ml.low_rank_update('{"[1,0.5]", "[0.5,1]"}', '{"[1,3]"}', '{2}'),
         ml.rank_one_update('{"[1,0.5]", "[0.5,1]"}', '[1,3]', 2)
       ]::text[][]`,
    );
    expect(algebra.difference(algebra.fromSql(one ?? []), algebra.fromSql(other ?? []))).toBeLessThan(1e-6);
  });

  test("refuses what would leave no inverse, and bad input", async () => {
    const refused = async (columns: string, factors: string): Promise<string | undefined> =>
      (
        await database.rejects('select ml.low_rank_update(\'{"[1,0]", "[0,1]"}\', $1::vector[], $2::float8[])', [
          columns,
          factors,
        ])
      ).code;
    expect(await refused('{"[1,0]"}', "{-1}")).toBe("CF007");
    expect(await refused('{"[1,0,0]"}', "{1}")).toBe("CF001");
    for (const factors of ["{1,2}", "{0}", "{NaN}", "{Infinity}", "{NULL}"])
      expect(await refused('{"[1,0]"}', factors)).toBe("CF001");
    expect(await refused(`{${Array(257).fill('"[1,0]"').join()}}`, `{${Array(257).fill(1).join()}}`)).toBe("CF008");
    expect((await database.rejects("select ml.low_rank_update(null, null, null)")).code).toBe("CF001");
  });

  test("of entries of any size is a matrix or an error that names it", async () => {
    for (const columns of ["$2::text[]::vector[]", "($2::text[]::vector[]) || ($2::text[]::vector[])"])
      await wild(
        database,
        `select ml.low_rank_update($1::text[]::vector[], ${columns}, array_fill(0.5::float8, array[cardinality(${columns})]))`,
      );
  });
});
