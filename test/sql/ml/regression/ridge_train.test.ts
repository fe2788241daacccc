import fc from "fast-check";
import { expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { exactLeastSquares, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  r2: number;
  effective_df: number;
  failure: string | null;
}

async function ridge(x: string, lambda: number, more = ""): Promise<Fit> {
  const [fit] = await train<Fit>(database, `ml.ridge_train('lab.sample', 'lab.model', 'y', '${x}', ${lambda}${more})`);
  if (fit === undefined) throw new Error("no model");
  return fit;
}

const whole = fc.integer({ min: -30, max: 30 });
const sample = fc.array(fc.record({ a: whole, b: whole, y: whole }), { minLength: 6, maxLength: 20 }).filter(
  (rows) =>
    exactLeastSquares(
      rows.map(({ a, b }) => [1, a, b]),
      rows.map(({ y }) => y),
    ) !== null,
);

test("equals least squares with lambda's rows added, in exact arithmetic", async () => {
  await fc.assert(
    fc.asyncProperty(sample, fc.integer({ min: 0, max: 9 }), async (rows, root) => {
      await load(database, "lab.sample", "a int, b int, y int", rows);
      // a penalty of root^2 is a row with root in one column and y = 0
      const penalty = [
        { x: [0, root, 0], y: 0 },
        { x: [0, 0, root], y: 0 },
      ];
      const data = [...rows.map(({ a, b, y }) => ({ x: [1, a, b], y })), ...penalty];
      const exact =
        exactLeastSquares(
          data.map(({ x }) => x),
          data.map(({ y }) => y),
        ) ?? [];
      const fit = await ridge("array[1, a, b]", root * root);
      for (const [i, value] of exact.entries()) expect(fit.coef[i]).toBeCloseTo(value, 8);
      const bare = data.slice(0, -2).map(({ x, y }) => ({ x: x.slice(1), y }));
      const through = [...bare, { x: [root, 0], y: 0 }, { x: [0, root], y: 0 }];
      const origin = exactLeastSquares(
        through.map(({ x }) => x),
        through.map(({ y }) => y),
      );
      if (origin !== null) {
        const fitted = await ridge("array[a, b]", root * root);
        for (const [i, value] of origin.entries()) expect(fitted.coef[i]).toBeCloseTo(value, 8);
      }
    }),
    { numRuns: 15, seed: 20260501 },
  );
});

test("without a penalty it is linear regression, and degrees of freedom fall with lambda", async () => {
  await load(
    database,
    "lab.sample",
    "a int, b int, y int",
    Array.from({ length: 12 }, (_, i) => ({ a: (i * 5) % 11, b: (i * i) % 7, y: (i * 3) % 8 })),
  );
  const [plain] = await train<Fit>(
    database,
    "ml.linregr_train('lab.sample', 'lab.plain', 'y', 'array[1, a, b]')",
    "lab.plain",
  );
  const free = await ridge("array[1, a, b]", 0);
  expect(fewestDigits(free.coef, plain?.coef ?? [])).toBeGreaterThan(11);
  expect(digits(free.r2, plain?.r2 ?? 0)).toBeGreaterThan(10);
  expect(free.effective_df).toBeCloseTo(3, 10);
  const held = await ridge("array[1, a, b]", 50);
  expect(held.effective_df).toBeLessThan(3);
  expect(held.r2).toBeLessThan(free.r2);
});

test("collinear columns share, in every order of rows", async () => {
  const rows = Array.from({ length: 10 }, (_, i) => ({ a: i, b: 2 * i, y: 3 * i + (i % 3) }));
  await load(database, "lab.sample", "a int, b int, y int", rows);
  const fit = await ridge("array[1, a, b]", 1);
  expect(digits((fit.coef[2] ?? 0) / (fit.coef[1] ?? 1), 2)).toBeGreaterThan(9);
  await load(database, "lab.sample", "a int, b int, y int", rows.toReversed());
  expect(fewestDigits((await ridge("array[1, a, b]", 1)).coef, fit.coef)).toBeGreaterThan(10);
  expect(
    await database.rejects("select ml.ridge_train('lab.sample', 'lab.none', 'y', 'array[1, a, b]', 0)"),
  ).toMatchObject({ code: "CF007" });
});

test("by group", async () => {
  await load(
    database,
    "lab.sample",
    "a int, b int, y int",
    Array.from({ length: 12 }, (_, i) => ({ a: i, b: i % 2, y: 3 * i })),
  );
  const fits = await train<Fit>(database, "ml.ridge_train('lab.sample', 'lab.model', 'y', 'array[1, a]', 0.5, 'b')");
  expect(fits).toHaveLength(2);
  expect(
    await database.rejects("select ml.ridge_train('lab.sample', 'lab.none', 'y', 'array[1, a, a]', 0, 'b')"),
  ).toMatchObject({ code: "CF007" });
});

test.each([
  ["lambda < 0", "'lab.sample', 'lab.none', 'y', 'array[1, a]', -1", "CF001"],
  ["no lambda", "'lab.sample', 'lab.none', 'y', 'array[1, a]', null", "CF001"],
  ["an unknown column", "'lab.sample', 'lab.none', 'y', 'array[1, z]', 1", "CF002"],
  ["an output that exists", "'lab.sample', 'lab.sample', 'y', 'array[1, a]', 1", "CF003"],
])("%s is refused", async (_, parameters, code) => {
  expect(await database.rejects(`select ml.ridge_train(${parameters})`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
