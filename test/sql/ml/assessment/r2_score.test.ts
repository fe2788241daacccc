import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing, madlib } from "./assessment.ts";

const database = await lab();
const { load, refused, scaled, single } = assessing(database);

describe("regression measures", () => {
  test.skipIf(madlib === null)("agree with MADlib's answers (needs stat_oracles)", async () => {
    await load(madlib ?? []);
    expect(await single("r2_score")).toBeCloseTo(0.2799, 4);
  });

  test("an error of a scaled problem is the scaled error", async () => {
    await scaled("r2_score", (plain, r2) => {
      if (plain === null) expect(r2).toBeNull();
      else expect(Math.abs(r2 - plain)).toBeLessThan(1e-9 * (1 + Math.abs(plain)));
    });
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("r2_score")).toBe("CF004");
    await load([{ prediction: Number.NaN, observed: 1 }]);
    expect(await refused("r2_score")).toBe("CF001");
  });
});
