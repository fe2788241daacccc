import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { exploring, squares } from "./unsupervised.ts";

const database = await lab();
const { load, refuse } = exploring(database);

describe("kmeanspp", () => {
  test("kmeans_predict gives each point its cluster", async () => {
    await load(squares);
    await database.query("drop table if exists lab.assigned");
    await database.query(
      "select ml.kmeans_predict('lab.points', 'lab.assigned', 'id', 'point', (select centroids from ml.kmeanspp('lab.points', 'point', 4)))",
    );
    const rows = await database.rows<{ size: number; squares: number; total: number }>(
      "select count(*)::int as size, count(distinct (id - 1) / 25)::int as squares, sum(distance) as total from lab.assigned group by cluster_id",
    );
    expect(rows.length).toBe(4);
    for (const row of rows) {
      expect(row).toMatchObject({ size: 25, squares: 1 });
      expect(row.total).toBeCloseTo(100, 3);
    }
    expect(
      await database.rejects(
        "select ml.kmeans_predict('lab.points', 'lab.other', 'id', 'point', array[[1,2,3]]::float8[])",
      ),
    ).toMatchObject({ code: "CF001" });
  });

  test("refuses bad input by name", async () => {
    await load([[1, 2]]);
    for (const [parameters, code] of [
      ["'lab.point', 'lab.other', 'id', 'point', array[[1,2]]::float8[]", "CF002"],
      ["'lab.points', 'lab.other', 'idd', 'point', array[[1,2]]::float8[]", "CF002"],
      ["'lab.points', 'lab.points', 'id', 'point', array[[1,2]]::float8[]", "CF003"],
      ["'lab.points', 'lab.other', 'id', 'point', array[[1,2]]::float8[], 'dist_lorentz'", "CF001"],
    ] as const) {
      expect(await refuse(`kmeans_predict(${parameters})`), parameters).toBe(code);
    }
    expect(await database.value("select to_regclass('lab.other')")).toBeNull();
  });
});
