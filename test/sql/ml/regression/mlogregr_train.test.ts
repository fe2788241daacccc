import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot, generator } from "../../../support/matrix.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { categories, train } from "./regression.ts";

const database = await lab();

interface Fit {
  category: number;
  ref_category: number;
  coef: number[];
  log_likelihood: number;
  std_err: number[];
  z_stats: number[];
  condition_no: number;
  num_rows_processed: string;
}

const mlogregr = (x: string, more = "", y = "y"): Promise<Fit[]> =>
  train<Fit>(database, `ml.mlogregr_train('lab.sample', 'lab.model', '${y}', '${x}'${more})`);

describe("MADlib's documented example", () => {
  beforeAll(() => load(database, "lab.sample", "a int, b int, y int", categories));

  test("coefficients and likelihood", async () => {
    const [first, second] = await mlogregr("ARRAY[1, a, b]", ", 0, 'max_iter=20, optimizer=irls, precision=0.0001'");
    expect(first).toMatchObject({ category: 1, ref_category: 0, num_rows_processed: "57" });
    expect(
      fewestDigits(first?.coef ?? null, [1.45474045211601, 0.0849956182104023, -0.0172383499601956]),
    ).toBeGreaterThan(8);
    expect(
      fewestDigits(second?.coef ?? null, [-7.12908167688326, 0.87648787696783, 0.127886153027713]),
    ).toBeGreaterThan(8);
    expect(digits(first?.log_likelihood ?? 0, -39.14759930999)).toBeGreaterThan(10);
    // its errors are those of the step before the last
    expect(
      fewestDigits(first?.std_err ?? null, [2.13085072854143, 0.585021661344715, 0.0431487356292144]),
    ).toBeGreaterThan(5);
    expect(
      fewestDigits(second?.std_err ?? null, [2.52104008297868, 0.639575886323862, 0.0445757462972303]),
    ).toBeGreaterThan(5);
    expect(digits(first?.condition_no ?? 0, 280069.034217586)).toBeGreaterThan(4);
    const covariance = await database.value<number[][]>("select variance_covariance from lab.model_summary");
    expect(
      fewestDigits(
        covariance[0] ?? null,
        [
          4.54052482732554, 3.01080140927409, -0.551901021610841, -0.380754019900586, -0.0784151362989211,
          -0.0510014701718268,
        ],
      ),
    ).toBeGreaterThan(4);
  });

  test("another reference gives the same odds", async () => {
    const zero = await mlogregr("array[1, a, b]");
    const two = await mlogregr("array[1, a, b]", ", 2");
    const [one, last] = zero.map((fit) => fit.coef);
    expect(
      fewestDigits(
        two.find((fit) => fit.category === 1)?.coef ?? null,
        (one ?? []).map((value, i) => value - (last?.[i] ?? 0)),
      ),
    ).toBeGreaterThan(7);
    expect(
      fewestDigits(
        two.find((fit) => fit.category === 0)?.coef ?? null,
        (last ?? []).map((value) => -value),
      ),
    ).toBeGreaterThan(7);
  });
});

test("with two categories it is logistic regression; the score vanishes with four", async () => {
  const next = generator(5);
  const rows = Array.from({ length: 240 }, () => {
    const [a, b] = [next() * 4, next() * 3 - 10];
    const scores = [0, 0.5 * a, b + 10 - 1, 1 - 0.4 * a].map((score) => score - Math.log(-Math.log(next())));
    return { a, b, y: scores.indexOf(Math.max(...scores)) };
  });
  await load(database, "lab.sample", "a float8, b float8, y int", rows);
  const fits = await mlogregr("array[1, a, b]");
  expect(fits.map((fit) => fit.category)).toEqual([1, 2, 3]);
  for (const category of [1, 2, 3]) {
    for (const j of [0, 1, 2]) {
      const score = rows.reduce((total, { a, b, y }) => {
        const x = [1, a, b];
        const odds = fits.map((fit) => Math.exp(dot(fit.coef, x)));
        const p = (odds[category - 1] ?? 0) / (1 + odds.reduce((sum, value) => sum + value, 0));
        return total + (x[j] ?? 0) * ((y === category ? 1 : 0) - p);
      }, 0);
      expect(Math.abs(score)).toBeLessThan(1e-5);
    }
  }
  const [binary] = await mlogregr("array[1, a, b]", "", "(y = 2)::int");
  const [plain] = await train<Fit>(
    database,
    "ml.logregr_train('lab.sample', 'lab.plain', 'y = 2', 'array[1, a, b]')",
    "lab.plain",
  );
  expect(fewestDigits(binary?.coef ?? null, plain?.coef ?? [])).toBeGreaterThan(8);
  expect(fewestDigits(binary?.std_err ?? null, plain?.std_err ?? [])).toBeGreaterThan(5);
});

test("one model per group equals one training per group, and a group without a category is reported", async () => {
  await load(database, "lab.sample", "a int, b int, y int, g text", [
    ...categories.map((row) => ({ ...row, g: "all" })),
    ...categories.filter((row) => row.b > 31).map((row) => ({ ...row, g: "most" })),
    ...categories.filter((row) => row.y < 2).map((row) => ({ ...row, g: "two" })),
  ]);
  const fits = (await mlogregr("array[1, a, b]", ", 0, null, 'g'")) as (Fit & { g: string; failure: string | null })[];
  expect(fits.find((fit) => fit.g === "two")?.failure).toBe("it holds 2 of the 3 categories");
  for (const group of ["all", "most"]) {
    await database.query(`create or replace view lab.one as select * from lab.sample where g = '${group}'`);
    const alone = await train<Fit>(
      database,
      "ml.mlogregr_train('lab.one', 'lab.alone', 'y', 'array[1, a, b]')",
      "lab.alone",
    );
    for (const category of [1, 2]) {
      expect(
        fewestDigits(
          fits.find((fit) => fit.g === group && fit.category === category)?.coef ?? null,
          alone.find((fit) => fit.category === category)?.coef ?? [],
        ),
      ).toBeGreaterThan(8);
    }
  }
});

test.each([
  ["one category", "'y * 0', 'array[1, a]'", "CF004"],
  ["fractions", "'a', 'array[1, b]'", "CF001"],
  ["an unknown reference", "'y', 'array[1, a]', 9", "CF002"],
  ["collinear columns", "'y', 'array[1, a, a + 1]'", "CF007"],
  ["separated categories", "'case when a > 2 then 1 else 0 end', 'array[1, a]'", "CF007"],
  ["an unknown option", "'y', 'array[1, a]', 0, 'maxiter=3'", "CF001"],
])("%s is refused", async (_, parameters, code) => {
  const next = generator(6);
  await load(
    database,
    "lab.sample",
    "a float8, b float8, y int",
    Array.from({ length: 60 }, () => ({ a: next() * 4, b: next(), y: Math.floor(next() * 3) })),
  );
  expect(await database.rejects(`select ml.mlogregr_train('lab.sample', 'lab.none', ${parameters})`)).toMatchObject({
    code,
  });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
