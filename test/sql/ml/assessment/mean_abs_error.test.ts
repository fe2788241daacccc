import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, measure, refused, scaled, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("mean_abs_error")).toBeCloseTo(13.825, 10);
  });

  test("an error of a scaled problem is the scaled error", async () => {
    await scaled("mean_abs_error", (plain, error, factor) => expect(error).toBeCloseTo(plain * factor, 6));
  });

  test("groups are measured apart, in one table", async () => {
    await load([
      { prediction: 1, observed: 2, course: "a" },
      { prediction: 5, observed: 2, course: "b" },
      { prediction: 4, observed: 2, course: "b" },
    ]);
    expect(await measure("mean_abs_error", ", 'course'")).toEqual(
      expect.arrayContaining([
        { course: "a", mean_abs_error: 1 },
        { course: "b", mean_abs_error: 2.5 },
      ]),
    );
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("mean_abs_error")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("mean_abs_error")).toBe("CF001");
  });
});
