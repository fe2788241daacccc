import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, refused, single } = assessing(database);

describe("measures of a probability", () => {
  test("log loss and Brier score are those of the definitions, never infinite", async () => {
    await load([
      { prediction: 0.9, observed: 1 },
      { prediction: 0.2, observed: 0 },
      { prediction: 0.6, observed: 0 },
    ]);
    expect(await single("brier_score")).toBeCloseTo((0.01 + 0.04 + 0.36) / 3, 12);
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([{ prediction: 1.5, observed: 1 }]);
    expect(await refused("brier_score")).toBe("CF001");
  });
});
