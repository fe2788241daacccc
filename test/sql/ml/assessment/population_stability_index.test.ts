import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

describe("drift", () => {
  test("the population stability index of a small example", async () => {
    const value = await database.value<number>(
      "select ml.population_stability_index('{50, 30, 20}', '{0.4, 0.3, 0.3}')",
    );
    expect(value).toBeCloseTo(-0.1 * Math.log(0.4 / 0.5) + 0.1 * Math.log(0.3 / 0.2), 12);
  });

  test("the index is 0 for equal shares, symmetric, and never negative", async () => {
    const bins = fc
      .array(fc.tuple(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 0, max: 50 })), { minLength: 1, maxLength: 8 })
      .filter((drawn) => drawn.some(([a]) => a > 0) && drawn.some(([, b]) => b > 0));
    await fc.assert(
      fc.asyncProperty(bins, async (drawn) => {
        const [row] = await database.rows<{ there: number; back: number; same: number }>(
          `select ml.population_stability_index($1, $2) as there, ml.population_stability_index($2, $1) as back,
             ml.population_stability_index($1, (select array_agg(3 * value order by place) from unnest($1::float8[]) with ordinality as bin (value, place))) as same`,
          [drawn.map(([a]) => a), drawn.map(([, b]) => b)],
        );
        expect(row?.there).toBeGreaterThanOrEqual(-1e-12);
        expect(row?.back).toBeCloseTo(row?.there ?? Number.NaN, 10);
        expect(row?.same).toBeCloseTo(0, 10);
      }),
      { numRuns: 25 },
    );
  });

  test("what is not a pair of populations is refused", async () => {
    for (const [expected, actual, code] of [
      ["{1, 2}", "{1}", "CF001"],
      ["{}", "{}", "CF001"],
      ["{1, -2}", "{1, 2}", "CF001"],
      ["{1, 2}", "{NaN, 2}", "CF001"],
      ["{1, 2}", "{1, null}", "CF001"],
      ["{0, 0}", "{1, 2}", "CF004"],
    ] as const) {
      expect(
        await database.rejects("select ml.population_stability_index($1, $2)", [expected, actual]),
        `${expected} ${actual}`,
      ).toMatchObject({ code });
    }
  });
});
