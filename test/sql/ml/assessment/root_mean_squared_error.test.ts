import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("root_mean_squared_error")).toBeCloseTo(Math.sqrt(220.3525), 10);
  });

  test("is the definition's: the root of the mean square", async () => {
    await load([
      { prediction: 1, observed: 2 },
      { prediction: 5, observed: 4 },
      { prediction: 3, observed: -5 },
      { prediction: 7, observed: 8 },
    ]);
    expect(await single("root_mean_squared_error")).toBeCloseTo(Math.sqrt((1 + 1 + 64 + 1) / 4), 14);
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("root_mean_squared_error")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("root_mean_squared_error")).toBe("CF001");
  });
});
