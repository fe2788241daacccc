import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dataset, hasDataset } from "../../../support/datasets.ts";
import { lab, load } from "../../../support/lab.ts";
import { dot } from "../../../support/matrix.ts";
import { train } from "./regression.ts";

const database = await lab();

describe.skipIf(!hasDataset("stat_oracles/houses"))("MADlib's houses (needs the data set stat_oracles)", () => {
  test("predicts what it was trained on", async () => {
    await load(
      database,
      "lab.houses",
      "id int, tax int, bedroom int, bath float8, price int, size int, lot int",
      dataset("stat_oracles/houses"),
    );
    await train(database, "ml.linregr_train('lab.houses', 'lab.model', 'price', 'array[1, tax, bath, size]')");
    const residual = await database.value<number>(
      "select sum(price - ml.linregr_predict(coef, array[1, tax, bath, size])) from lab.houses, lab.model",
    );
    expect(Math.abs(residual)).toBeLessThan(1e-7);
  });
});

test("is the sum of products", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.integer({ min: -1000, max: 1000 })), {
        minLength: 1,
        maxLength: 20,
      }),
      async (pairs) => {
        const coef = pairs.map(([one]) => one / 8);
        const x = pairs.map(([, other]) => other / 8);
        expect(await database.value("select ml.linregr_predict($1, $2)", [coef, x])).toBe(dot(coef, x));
      },
    ),
    { numRuns: 20 },
  );
});

describe("bad input", () => {
  test("a prediction with another number of columns", async () => {
    expect(await database.rejects("select ml.linregr_predict('{1,2}', '{1}')")).toMatchObject({ code: "CF001" });
    expect(await database.value("select ml.linregr_predict('{1,2}', '{1,null}')")).toBeNull();
  });
});
