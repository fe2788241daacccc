import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { exploring, tutorial } from "./unsupervised.ts";

const database = await lab();
const { components, load, refuse } = exploring(database);

describe("pca_train", () => {
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
    const plain = await components("2", ", use_correlation => true");
    // MADlib's arguments in MADlib's order.
    expect(await components("2", ", null, 0, true, null")).toEqual(plain);
    await load(tutorial.map(([x, y]) => [(x ?? 0) * 1000, y ?? 0]));
    const scaled = await components("2", ", use_correlation => true");
    for (const [i, one] of scaled.entries()) expect(one.std_dev).toBeCloseTo(plain[i]?.std_dev ?? Number.NaN, 9);
    expect(plain.reduce((sum, one) => sum + one.std_dev ** 2, 0)).toBeCloseTo(2, 9);
  });

  test("refuses bad input by name", async () => {
    await load(tutorial);
    await components("2");
    expect(await refuse("pca_train('lab.points', 'lab.pca', 'id', 1)")).toBe("CF003");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 3)")).toBe("CF001");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1, 'id')")).toBe("CF001");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1, null, 0, false, 'lab.about')")).toBe("CF001");
    expect(await refuse("pca_train('lab.points', 'lab.other', 'idd', 1)")).toBe("CF002");
    await load([[1, 2]]);
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1)")).toBe("CF004");
    await load([
      [1, 2],
      [2, 2],
      [5, 2],
    ]);
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1, use_correlation => true)")).toBe("CF007");
    expect((await components("0.9")).length).toBe(1);
    await load([
      [1, 2],
      [2, 2, 3],
    ]);
    expect(await refuse("pca_train('lab.points', 'lab.other', 'id', 1)")).toBe("CF001");
  });
});
