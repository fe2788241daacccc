import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { assessing } from "./assessment.ts";

const database = await lab();
const { load, measure, refused } = assessing(database);

describe("confusion_matrix", () => {
  test("counts every pair of classes, numbers in order, also by group", async () => {
    await load([
      { prediction: 10, observed: 9, course: "a" },
      { prediction: 9, observed: 9, course: "a" },
      { prediction: 10, observed: 10, course: "b" },
      { prediction: 2, observed: 10, course: "b" },
    ]);
    expect(await measure("confusion_matrix")).toEqual([
      { row_id: "1", class: "2", confusion_arr: ["0", "0", "0"] },
      { row_id: "2", class: "9", confusion_arr: ["0", "1", "1"] },
      { row_id: "3", class: "10", confusion_arr: ["1", "0", "1"] },
    ]);
    const rows = await measure("confusion_matrix", ", 'course'");
    expect(rows.length).toBe(6);
    expect(rows[2]).toEqual({ course: "a", row_id: "3", class: "10", confusion_arr: ["0", "0", "0"] });
  });
});

describe("invalid input is refused by name", () => {
  test("values", async () => {
    await load([]);
    expect(await refused("confusion_matrix")).toBe("CF004");
    expect(await refused("confusion_matrix", ", 'curse'")).toBe("CF002");
  });
});
