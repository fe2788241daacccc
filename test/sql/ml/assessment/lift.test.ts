import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, measure, refused } = assessing(database);

describe("measures of a score", () => {
  test("lift finds the positives that the highest scores hold", async () => {
    await load(Array.from({ length: 100 }, (_, i) => ({ prediction: i, observed: i >= 80 || i < 5 ? 1 : 0 })));
    const rows = await measure("lift", ", null, 10");
    expect(rows.length).toBe(10);
    expect(rows[0]).toMatchObject({
      bucket: 1,
      num_rows: "10",
      positives: "10",
      rate: 1,
      lift: 4,
      cumulative_lift: 4,
      captured: 0.4,
    });
    expect(rows[9]).toMatchObject({
      bucket: 10,
      lowest: 0,
      positives: "5",
      rate: 0.5,
      lift: 2,
      cumulative_lift: 1,
      captured: 1,
    });
  });

  test("equal scores stay in one bucket", async () => {
    await load(Array.from({ length: 20 }, (_, i) => ({ prediction: 0.5, observed: i % 2 })));
    expect((await measure("lift", ", null, 10")).length).toBe(1);
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([
      { prediction: 0.5, observed: 2 },
      { prediction: 0.5, observed: 1 },
    ]);
    expect(await refused("lift")).toBe("CF001");
  });
});
