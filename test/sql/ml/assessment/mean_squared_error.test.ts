import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, refused, scaled, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("mean_squared_error")).toBeCloseTo(220.3525, 10);
  });

  test("an error of a scaled problem is the scaled error", async () => {
    await scaled("mean_squared_error", (plain, error, factor) => expect(error).toBeCloseTo(plain * factor ** 2, 3));
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("mean_squared_error")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("mean_squared_error")).toBe("CF001");
  });
});
