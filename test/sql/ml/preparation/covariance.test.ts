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
        rows.map(([a, b, c]) => ({ a, b, c })),
      );
      const covariance = await make("covariance('lab.numbers', 'lab.made')");
      expect(covariance.map((row) => row["variable"])).toEqual(["a", "b", "c"]);
      expect(covariance[0]?.["b"]).toBeNull();
      expect(covariance[2]?.["b"]).toBeCloseTo(product(2, 1) / (rows.length - 1), 8);
      expect(covariance[1]?.["b"]).toBeCloseTo(product(1, 1) / (rows.length - 1), 8);
    }, 10);
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
    for (const call of ["covariance", "correlation"])
      for (const value of ["NaN", "Infinity", "-Infinity"]) {
        await database.query(`update lab.numbers set b = '${value}' where a = 3`);
        expect(await refuse(`${call}('lab.numbers', 'lab.made', 'a, b', false, 'kind')`)).toMatchObject({
          code: "CF001",
          hint: expect.stringContaining("make the values null"),
        });
      }
    expect((await refuse("covariance('lab.numbers', 'lab.made', 'a, c')")).code).toBe("CF002");
    expect((await refuse("covariance('lab.numbers', 'lab.numbers', 'a, b')")).code).toBe("CF003");
    expect((await refuse("covariance('lab.numbers', 'lab.made', 'a')")).code).toBe("CF004");
  });
});
