import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("mean_abs_perc_error")).toBeCloseTo(0.2945, 3);
  });

  test("is the definition's: the mean of the absolute errors as fractions of what was observed", async () => {
    await load([
      { prediction: 1, observed: 2 },
      { prediction: 5, observed: 4 },
      { prediction: 3, observed: -5 },
      { prediction: 7, observed: 8 },
    ]);
    expect(await single("mean_abs_perc_error")).toBeCloseTo((1 / 2 + 1 / 4 + 8 / 5 + 1 / 8) / 4, 14);
  });

  test("rows observed as zero do not count", async () => {
    await load([
      { prediction: 3, observed: 0 },
      { prediction: 3, observed: 4 },
    ]);
    expect(await single("mean_abs_perc_error")).toBe(0.25);
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("mean_abs_perc_error")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("mean_abs_perc_error")).toBe("CF001");
  });
});
