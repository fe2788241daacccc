import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { making, threeColumns } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("correlation and covariance", () => {
  test("are those of the definitions, in the lower triangle, unmoved by order, shift and scale", async () => {
    await threeColumns(async (rows, product) => {
      await load(
        database,
        "lab.numbers",
        "a float8, b float8, c float8",
        rows.map(([a, b, c]) => ({ a, b: 7 * b + 1000, c: -c })).reverse(),
      );
      const correlation = await make("correlation('lab.numbers', 'lab.made', 'a, b, c')");
      expect(correlation[1]?.["a"]).toBeCloseTo(product(1, 0) / Math.sqrt(product(0, 0) * product(1, 1)), 10);
      expect(correlation[2]?.["b"]).toBeCloseTo(-product(2, 1) / Math.sqrt(product(1, 1) * product(2, 2)), 10);
    }, 10);
  });

  test("leave rows with a null out and count them; by group", async () => {
    await load(database, "lab.numbers", "kind text, a float8, b float8", [
      { kind: "x", a: 1, b: 2 },
      { kind: "x", a: 2, b: 4 },
      { kind: "x", a: 3, b: null },
      { kind: "y", a: 1, b: 5 },
      { kind: "y", a: 2, b: 3 },
    ]);
    const rows = await make("correlation('lab.numbers', 'lab.made', 'a, b', false, 'kind')");
    expect(rows.map((row) => [row["kind"], row["variable"], row["a"]])).toEqual([
      ["x", "a", 1],
      ["x", "b", 1],
      ["y", "a", 1],
      ["y", "b", -1],
    ]);
    expect(await database.rows("select total_rows_processed, total_rows_skipped from lab.made_summary")).toEqual([
      { total_rows_processed: "4", total_rows_skipped: "1" },
    ]);
    expect((await refuse("correlation('lab.numbers', 'lab.made', 'a, kind')")).code).toBe("CF001");
    expect((await refuse("correlation('lab.numbers', 'lab.made', 'a')")).code).toBe("CF004");
  });
});
