import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { iris } from "./iris.ts";
import { exploring, squares } from "./unsupervised.ts";

const database = await lab();
const { load, refuse } = exploring(database);

describe("kmeanspp", () => {
  test("kmeanspp_auto chooses the number that is plainly there", async () => {
    await load(squares);
    await database.query(
      "select ml.kmeanspp_auto('lab.points', 'lab.auto', 'point', array[2, 3, 4, 5, 6], k_selection_algorithm => 'both')",
    );
    const rows = await database.rows<{ k: number; silhouette: number; elbow: number | null; objective_fn: number }>(
      "select * from lab.auto order by k",
    );
    expect(rows.map((row) => row.k)).toEqual([2, 3, 4, 5, 6]);
    expect(rows[0]?.elbow).toBeNull();
    expect(rows.reduce((best, row) => (row.silhouette > best.silhouette ? row : best)).k).toBe(4);
    for (const [i, row] of rows.entries())
      if (i > 0) expect(row.objective_fn).toBeLessThan(rows[i - 1]?.objective_fn ?? 0);
    expect(await database.rows("select k, selection_algorithm from lab.auto_summary")).toEqual([
      { k: 4, selection_algorithm: "silhouette" },
    ]);
  });

  test("refuses bad input by name", async () => {
    await load(squares);
    expect(await refuse("kmeanspp_auto('lab.points', 'lab.other', 'point', array[3])")).toBe("CF001");
    expect(await refuse("kmeanspp_auto('lab.points', 'lab.other', 'pint', array[2, 3])")).toBe("CF002");
    expect(await refuse("kmeanspp_auto('lab.points', 'lab.points', 'point', array[2, 3])")).toBe("CF003");
  });
});

describe("silhouettes of iris", () => {
  test("are those of scikit-learn's silhouette_score, and the quick one has its own name", async () => {
    await load(iris);
    await database.query("select ml.kmeanspp_auto('lab.points', 'lab.iris', 'point', array[2, 3, 4])");
    const rows = await database.rows<{
      k: number;
      silhouette: number;
      simple_silhouette: number;
      selection_algorithm: string | null;
    }>("select k, silhouette, simple_silhouette, selection_algorithm from lab.iris order by k");
    expect(rows[0]?.silhouette).toBeCloseTo(0.681046, 5);
    expect(rows[1]?.silhouette).toBeCloseTo(0.552819, 5);
    expect(rows[0]?.selection_algorithm).toBe("silhouette");
    // Computed from the points and the two centroids.
    const [one, other] = await database.value<number[][]>("select centroids from lab.iris where k = 2");
    const squared = (a: readonly number[], b: readonly number[] = []): number =>
      a.reduce((sum, x, i) => sum + (x - (b[i] ?? Number.NaN)) ** 2, 0);
    const simple = iris.map((point) => {
      const [near = 0, far = 0] = [squared(point, one), squared(point, other)].sort((a, b) => a - b);
      return (far - near) / far;
    });
    expect(rows[0]?.simple_silhouette).toBeCloseTo(simple.reduce((sum, value) => sum + value, 0) / simple.length, 5);
    await database.query(
      "select ml.kmeanspp_auto('lab.points', 'lab.simple', 'point', array[2, 3], k_selection_algorithm => 'simple_silhouette')",
    );
    expect(await database.rows("select k, selection_algorithm from lab.simple_summary")).toEqual([
      { k: 2, selection_algorithm: "simple_silhouette" },
    ]);
  });
});
