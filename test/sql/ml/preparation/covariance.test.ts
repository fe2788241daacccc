import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { making } from "./preparation.ts";

const database = await lab();
const { make, refuse } = making(database);

describe("correlation and covariance", () => {
  test("are those of the definitions, in the lower triangle, unmoved by order, shift and scale", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.integer({ min: -50, max: 50 }),
            fc.integer({ min: -50, max: 50 }),
            fc.integer({ min: -50, max: 50 }),
          ),
          { minLength: 3, maxLength: 30 },
        ),
        async (rows) => {
          const center = (k: 0 | 1 | 2): number[] =>
            rows.map((row) => row[k] - rows.reduce((sum, other) => sum + other[k], 0) / rows.length);
          const product = (i: 0 | 1 | 2, j: 0 | 1 | 2): number =>
            center(i).reduce((sum, x, n) => sum + x * (center(j)[n] ?? 0), 0);
          fc.pre(product(0, 0) > 0 && product(1, 1) > 0 && product(2, 2) > 0);
          await load(
            database,
            "lab.numbers",
            "a float8, b float8, c float8",
            rows.map(([a, b, c]) => ({ a, b, c })),
          );
          const covariance = await make("covariance('lab.numbers', 'lab.made')");
          expect(covariance.map((row) => row["variable"])).toEqual(["a", "b", "c"]);
          expect(covariance[0]?.["b"]).toBeNull();
          expect(covariance[2]?.["b"]).toBeCloseTo(product(2, 1) / (rows.length - 1), 8);
          expect(covariance[1]?.["b"]).toBeCloseTo(product(1, 1) / (rows.length - 1), 8);
        },
      ),
      { numRuns: 10 },
    );
  });

  test("leave rows with a null out and count them; by group", async () => {
    await load(database, "lab.numbers", "kind text, a float8, b float8", [
      { kind: "x", a: 1, b: 2 },
      { kind: "x", a: 3, b: 8 },
      { kind: "x", a: 9, b: null },
      { kind: "y", a: 1, b: 5 },
      { kind: "y", a: 2, b: 3 },
    ]);
    const rows = await make("covariance('lab.numbers', 'lab.made', 'a, b', false, 'kind')");
    expect(rows.map((row) => [row["kind"], row["variable"], row["a"], row["b"]])).toEqual([
      ["x", "a", 2, null],
      ["x", "b", 6, 18],
      ["y", "a", 0.5, null],
      ["y", "b", -1, 2],
    ]);
    expect((await refuse("covariance('lab.numbers', 'lab.made', 'a, kind')")).code).toBe("CF001");
    expect((await refuse("covariance('lab.numbers', 'lab.made', 'a, c')")).code).toBe("CF002");
    expect((await refuse("covariance('lab.numbers', 'lab.numbers', 'a, b')")).code).toBe("CF003");
    expect((await refuse("covariance('lab.numbers', 'lab.made', 'a')")).code).toBe("CF004");
  });
});
