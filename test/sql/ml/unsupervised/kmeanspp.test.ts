import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { iris } from "./iris.ts";
import { exploring, squares } from "./unsupervised.ts";

const database = await lab();
const { cluster, load, refuse } = exploring(database);

const distance = (a: readonly number[], b: readonly number[]): number =>
  a.reduce((sum, x, i) => sum + (x - (b[i] ?? Number.NaN)) ** 2, 0);

describe("kmeanspp", () => {
  test("ends where every point is with its nearest mean, and reports it", async () => {
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

  test("refuses bad input by name", async () => {
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
  });
});

describe("kmeanspp from several starts", () => {
  test("finds the best clustering of iris for every seed, as R's kmeans(nstart = 10) does: 78.85", async () => {
    await load(iris);
    for (let seed = 1; seed <= 12; seed += 1) {
      expect((await cluster(3, `, seed => ${seed}`)).objective_fn).toBeCloseTo(78.851441, 5);
    }
    // One start ends where it began: some of the seeds stay in a worse one.
    const single = await database.value<number>(
      "select max((ml.kmeanspp('lab.points', 'point', 3, seed => seed, n_init => 1)).objective_fn) from generate_series(1, 30) as seed",
    );
    expect(single).toBeGreaterThan(78.86);
    for (const n_init of ["0", "1001", "null"]) {
      expect(await refuse(`kmeanspp('lab.points', 'point', 3, n_init => ${n_init})`)).toBe("CF001");
    }
  });

  test("many points are started from a sample, and settle on all", async () => {
    await database.query(`create table lab.many as
      select array[10 * (i % 4) + (hashint8extended(i, 1) & 1023) / 1024.0, (hashint8extended(i, 2) & 1023) / 1024.0]::float8[] as point
      from generate_series(1::bigint, 40000) as i`);
    const found = await cluster(4, "", "lab.many");
    expect(found.centroids.map((centroid) => Math.floor(centroid[0] ?? 0)).sort((a, b) => a - b)).toEqual([
      0, 10, 20, 30,
    ]);
    expect(found.objective_fn / 40000).toBeCloseTo(2 / 12, 2);
  });

  test("a read-only transaction gets the same answer", async () => {
    await load(iris);
    const expected = await cluster(3);
    const row = await database.as("postgres", {}, async (db) => {
      // A table of the caller's path, and a type of it in the expression.
      await db.query("set transaction read only; set local search_path to lab, public");
      return db.rows("select * from ml.kmeanspp('points', 'point::vector::real[]', 3)");
    });
    expect(row[0]?.["objective_fn"]).toBeCloseTo(expected.objective_fn, 5);
  });

  test.each([
    ["too large to be squared", "array[1e200, 1]", "array[2e200, 3]", "CF007"],
    ["so large that their mean is not", "array[1.7e308, 1]", "array[1.7e308, 3]", "CF007"],
    ["too close to be compared", "array[1e-30, 1]", "array[2e-30, 1]", "CF007"],
  ])("points that are %s are refused", async (_, one, other, code) => {
    await database.query(`drop table if exists lab.odd; create table lab.odd (point float8[]);
      insert into lab.odd values (${one}), (${other})`);
    expect(await refuse("kmeanspp('lab.odd', 'point', 2)")).toBe(code);
  });

  test("zeros have no angle", async () => {
    await database.query(`drop table if exists lab.odd; create table lab.odd (point float8[]);
      insert into lab.odd values (array[0, 0]), (array[1, 0]), (array[0, 1])`);
    expect(await refuse("kmeanspp('lab.odd', 'point', 2, 'dist_angle', 'normalized_avg')")).toBe("CF001");
    expect(await database.value("select (ml.kmeanspp('lab.odd', 'point', 3)).objective_fn")).toBe(0);
  });

  test("points may be in a column named after a word of SQL", async () => {
    await database.query(
      'create table lab.words as select array[i, i % 2]::float8[] as "order" from generate_series(1, 9) as i',
    );
    expect((await cluster(2, "", "lab.words", "order")).centroids).toHaveLength(2);
  });
});
