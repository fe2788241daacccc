import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
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
