import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { exploring, tutorial } from "./unsupervised.ts";

const database = await lab();
const { components, load, refuse } = exploring(database);

describe("pca_train", () => {
  test("gives the published components of a tutorial", async () => {
    await load(tutorial);
    await components("2");
    await database.query("select ml.pca_project('lab.points', 'lab.pca', 'lab.projected', 'id', 'lab.residual')");
    const projected = await database.rows<{ row_vec: number[] }>("select row_vec from lab.projected order by id");
    expect(projected[0]?.row_vec[0]).toBeCloseTo(0.827970186, 8);
    expect(projected[0]?.row_vec[1]).toBeCloseTo(0.175115307, 8);
    for (const row of await database.rows<{ row_vec: number[] }>("select row_vec from lab.residual"))
      for (const x of row.row_vec) expect(x).toBeCloseTo(0, 12);
  });

  test("refuses bad input by name", async () => {
    await load(tutorial);
    await components("2");
    expect(await refuse("pca_project('lab.points', 'lab.points', 'lab.other', 'id')")).toBe("CF002");
    await load([
      [1, 2],
      [2, 2, 3],
    ]);
    expect(await refuse("pca_project('lab.points', 'lab.pca', 'lab.other', 'id')")).toBe("CF001");
  });
});
