import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";

const database = await testDatabase();
await database.query("create schema lab");

interface Clusters {
  centroids: number[][];
  cluster_variance: number[];
  objective_fn: number;
  frac_reassigned: number;
  num_iterations: number;
}

async function load(points: readonly (readonly number[])[]): Promise<void> {
  await database.query("drop table if exists lab.points cascade");
  await database.query("create table lab.points (id int, point float8[])");
  await database.query(
    "insert into lab.points select position, array(select jsonb_array_elements_text(entry)::float8) from jsonb_array_elements($1) with ordinality as row (entry, position)",
    [JSON.stringify(points)],
  );
}

async function cluster(k: number, more = "", source = "lab.points", point = "point"): Promise<Clusters> {
  const [row] = await database.rows<Clusters>(`select * from ml.kmeanspp('${source}', '${point}', ${k} ${more})`);
  return row as Clusters;
}

const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + (x - (b[i] ?? Number.NaN)) ** 2, 0);

describe("kmeanspp", () => {
  test("ends where every point is with its nearest mean, and says so", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: -20, max: 20 }), fc.integer({ min: -20, max: 20 })), {
          minLength: 12,
          maxLength: 60,
        }),
        fc.integer({ min: 2, max: 4 }),
        async (points, k) => {
          fc.pre(new Set(points.map((point) => point.join())).size >= k);
          await load(points);
          const found = await cluster(k, ", max_num_iterations => 100, min_frac_reassigned => 0");
          expect(found.frac_reassigned).toBe(0);
          const nearest = points
            .map((point) => found.centroids.map((centroid) => distance(point, centroid)))
            .map((all) => all.indexOf(Math.min(...all)));
          let objective = 0;
          for (const [i, centroid] of found.centroids.entries()) {
            const own = points.filter((_, n) => nearest[n] === i);
            // A tie may be broken either way; the means of the others follow from their points.
            const ties = points.some((point) => {
              const all = found.centroids.map((one) => distance(point, one)).sort((a, b) => a - b);
              return (all[1] ?? 1) - (all[0] ?? 0) < 1e-4;
            });
            fc.pre(!ties);
            for (const place of [0, 1] as const)
              expect(centroid[place]).toBeCloseTo(own.reduce((sum, point) => sum + point[place], 0) / own.length, 9);
            const spread = own.reduce((sum, point) => sum + distance(point, centroid), 0);
            expect(found.cluster_variance[i]).toBeCloseTo(spread, 3);
            objective += spread;
          }
          expect(found.objective_fn).toBeCloseTo(objective, 3);
        },
      ),
      { numRuns: 15 },
    );
  });

  // Four squares of 25 points, far from each other.
  const squares = [0, 1, 2, 3].flatMap((square) =>
    Array.from({ length: 25 }, (_, i) => [
      (square % 2) * 100 + (i % 5),
      Math.floor(square / 2) * 100 + Math.floor(i / 5),
    ]),
  );
  const centres = [
    [2, 2],
    [2, 102],
    [102, 2],
    [102, 102],
  ];
  const sorted = (centroids: number[][], shift = 0): number[][] =>
    centroids
      .map((centroid) => centroid.map((x) => x - shift))
      .sort((a, b) => (a[0] ?? 0) - (b[0] ?? 0) || (a[1] ?? 0) - (b[1] ?? 0));

  test("finds what is plainly there, far from the origin, in any order of rows, as vectors, twice", async () => {
    await load(squares);
    const found = await cluster(4);
    expect(sorted(found.centroids)).toEqual(centres);
    expect(found.objective_fn).toBeCloseTo(4 * 25 * 4, 3);
    await database.query("create table lab.shuffled as select * from lab.points order by md5(id::text)");
    expect((await cluster(4, "", "lab.shuffled")).centroids).toEqual(found.centroids);
    await database.query("create table lab.vectors as select id, point::vector as v from lab.points");
    expect(sorted((await cluster(4, "", "lab.vectors", "v")).centroids)).toEqual(centres);
    await load(squares.map((point) => point.map((x) => x + 1e7)));
    expect(sorted((await cluster(4)).centroids, 1e7)).toEqual(centres);
    await load([...squares, ...squares]);
    expect(sorted((await cluster(4)).centroids)).toEqual(centres);
  });

  test("measures by other distances", async () => {
    await load(squares.map(([x, y]) => [(x ?? 0) + 1, (y ?? 0) + 1]));
    expect((await cluster(4, ", 'dist_norm1'")).objective_fn).toBeCloseTo(4 * 60, 3);
    expect((await cluster(4, ", 'dist_norm2'")).objective_fn).toBeGreaterThan(100);
    // By angle the two squares on the diagonal are one.
    const angles = await cluster(3, ", 'dist_angle', 'normalized_avg', 50");
    expect(angles.centroids.length).toBe(3);
    expect(angles.objective_fn).toBeLessThan(100 * 0.4);
  });

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
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    await load([
      [1, 2],
      [1, 2],
      [3, 4],
    ]);
    expect(await refuse("kmeanspp('lab.points', 'point', 3)")).toBe("CF004");
    expect(await refuse("kmeanspp('lab.points', 'point', 0)")).toBe("CF001");
    expect(await refuse("kmeanspp('lab.points', 'id', 2)")).toBe("CF001");
    expect(await refuse("kmeanspp('lab.points', 'pint', 2)")).toBe("CF002");
    expect(await refuse("kmeanspp('lab.points', 'point', 2, 'dist_lorentz')")).toBe("CF001");
    await load([[1, 2], [1]]);
    expect(await refuse("kmeanspp('lab.points', 'point', 2)")).toBe("CF001");
    await database.query("update lab.points set point = array['NaN', 1]::float8[]");
    expect(await refuse("kmeanspp('lab.points', 'point', 1)")).toBe("CF001");
    await database.query("update lab.points set point = null");
    expect(await refuse("kmeanspp('lab.points', 'point', 1)")).toBe("CF004");
    expect(await refuse("kmeanspp_auto('lab.points', 'lab.other', 'point', array[3])")).toBe("CF001");
  });
});

describe("pca_train", () => {
  interface Component {
    row_id: string;
    principal_components: number[];
    std_dev: number;
    proportion: number;
  }
  async function components(parameter: string, more = "", source = "lab.points"): Promise<Component[]> {
    await database.query("drop table if exists lab.pca, lab.pca_mean");
    await database.query(`select ml.pca_train('${source}', 'lab.pca', 'id', ${parameter} ${more})`);
    return database.rows<Component>("select * from lab.pca order by row_id");
  }
  // L. I. Smith, A tutorial on principal components analysis, 2002.
  const tutorial = [
    [2.5, 2.4],
    [0.5, 0.7],
    [2.2, 2.9],
    [1.9, 2.2],
    [3.1, 3.0],
    [2.3, 2.7],
    [2, 1.6],
    [1, 1.1],
    [1.5, 1.6],
    [1.1, 0.9],
  ];

  test("gives the published components of a tutorial", async () => {
    await load(tutorial);
    const [first, second] = await components("2");
    expect((first?.std_dev ?? 0) ** 2).toBeCloseTo(1.28402771, 8);
    expect((second?.std_dev ?? 0) ** 2).toBeCloseTo(0.0490833989, 9);
    expect(first?.principal_components[0]).toBeCloseTo(0.677873399, 8);
    expect(first?.principal_components[1]).toBeCloseTo(0.735178656, 8);
    expect(second?.principal_components[0]).toBeCloseTo(0.735178656, 8);
    expect(second?.principal_components[1]).toBeCloseTo(-0.677873399, 8);
    expect(first?.proportion).toBeCloseTo(1.28402771 / (1.28402771 + 0.0490833989), 8);
    expect((await components("0.9")).length).toBe(1);
    expect((await components("0.99")).length).toBe(2);
    await database.query("select ml.pca_project('lab.points', 'lab.pca', 'lab.projected', 'id', 'lab.residual')");
    const projected = await database.rows<{ row_vec: number[] }>("select row_vec from lab.projected order by id");
    expect(projected[0]?.row_vec[0]).toBeCloseTo(0.827970186, 8);
    expect(projected[0]?.row_vec[1]).toBeCloseTo(0.175115307, 8);
    for (const row of await database.rows<{ row_vec: number[] }>("select row_vec from lab.residual"))
      for (const x of row.row_vec) expect(x).toBeCloseTo(0, 12);
  });

  test("components are orthonormal eigenvectors, whatever the order of rows, the shift or the form of the table", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.tuple(
            fc.integer({ min: -30, max: 30 }),
            fc.integer({ min: -30, max: 30 }),
            fc.integer({ min: -30, max: 30 }),
            fc.integer({ min: -30, max: 30 }),
          ),
          { minLength: 8, maxLength: 30 },
        ),
        async (points) => {
          await load(points);
          fc.pre(new Set(points.map((point) => point.join())).size > 5);
          const found = await components("4");
          for (const [i, one] of found.entries()) {
            for (const [j, other] of found.entries()) {
              expect(
                one.principal_components.reduce((sum, x, n) => sum + x * (other.principal_components[n] ?? 0), 0),
              ).toBeCloseTo(i === j ? 1 : 0, 9);
            }
            // The variance along the component is its eigenvalue.
            const along = points.map((point) =>
              point.reduce((sum: number, x, n) => sum + x * (one.principal_components[n] ?? 0), 0),
            );
            const mean = along.reduce((sum, x) => sum + x, 0) / along.length;
            expect(along.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (along.length - 1)).toBeCloseTo(
              one.std_dev ** 2,
              6,
            );
          }
          await database.query(
            "create table lab.wide as select id, point[1] + 500 as a, point[2] as b, point[3] as c, point[4] as d from lab.points order by md5(id::text)",
          );
          const wide = await components("4", "", "lab.wide");
          await database.query("drop table lab.wide");
          for (const [i, one] of wide.entries()) expect(one.std_dev).toBeCloseTo(found[i]?.std_dev ?? Number.NaN, 6);
        },
      ),
      { numRuns: 8 },
    );
  });

  test("of correlations does not mind the unit of a dimension", async () => {
    await load(tutorial);
    const plain = await components("2", ", true");
    await load(tutorial.map(([x, y]) => [(x ?? 0) * 1000, y ?? 0]));
    const scaled = await components("2", ", true");
    for (const [i, one] of scaled.entries()) expect(one.std_dev).toBeCloseTo(plain[i]?.std_dev ?? Number.NaN, 9);
    expect(plain.reduce((sum, one) => sum + one.std_dev ** 2, 0)).toBeCloseTo(2, 9);
  });

  test("refuses bad input by name", async () => {
    const refuse = async (call: string): Promise<string | undefined> =>
      (await database.rejects(`select ml.${call}`)).code;
    expect(await refuse("pca_train('lab.points', 'lab.pca', 'id', 1)")).toBe("CF003");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 3)")).toBe("CF001");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'idd', 1)")).toBe("CF002");
    expect(await refuse("pca_project('lab.points', 'lab.points', 'lab.other', 'id')")).toBe("CF002");
    await load([[1, 2]]);
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1)")).toBe("CF004");
    await load([
      [1, 2],
      [2, 2],
      [5, 2],
    ]);
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1, true)")).toBe("CF007");
    expect((await components("0.9")).length).toBe(1);
    await load([
      [1, 2],
      [2, 2, 3],
    ]);
    expect(await refuse("pca_project('lab.points', 'lab.pca', 'lab.other', 'id')")).toBe("CF001");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1)")).toBe("CF001");
  });
});
