import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import * as algebra from "../../../support/matrix.ts";
import { call, random, refused, seed, size } from "./linear_algebra.ts";

const database = await testDatabase();

describe("products", () => {
  test("are those of direct algebra, for any shapes", async () => {
    await fc.assert(
      fc.asyncProperty(size, size, seed, async (m, k, seed) => {
        const a = random(m, k, seed);
        expect(await call(database, "transpose", a)).toEqual(
          algebra.transpose(a).map((row) => row.map((v) => expect.closeTo(v, 7))),
        );
      }),
      { numRuns: 30 },
    );
  });

  test("refuse what does not fit", async () => {
    expect(await refused(database, "select ml.transpose(null)")).toBe("CF004 the matrix matrix has no rows");
  });
});
