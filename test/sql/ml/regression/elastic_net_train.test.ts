import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot, generator } from "../../../support/matrix.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { patients, train } from "./regression.ts";

const database = await lab();

interface Fit {
  features: string[];
  features_selected: string[];
  coef_nonzero: number[];
  coef_all: number[];
  intercept: number;
  log_likelihood: number;
  lambda_value: number;
  alpha: number;
  num_rows_processed: string;
}

const call = (y: string, x: string, family: string, alpha: number, lambda: number | null, more = ""): string =>
  `ml.elastic_net_train('lab.sample', 'lab.net', '${y}', '${x}', '${family}', ${alpha}, ${lambda ?? "null"}${more})`;

async function net(...parameters: Parameters<typeof call>): Promise<Fit> {
  const [fit] = await train<Fit>(database, call(...parameters), "lab.net");
  if (fit === undefined) throw new Error("no model");
  return fit;
}

interface Row {
  x: number[];
  y: number;
  c: number;
}

/** Rows of three columns in different units, with a value and a class that depend on the first two. */
function sample(seed: number, count = 60): Row[] {
  const next = generator(seed);
  return Array.from({ length: count }, () => {
    const x = [next() * 3, 40 + next() * 20, next() / 100];
    const signal = 2 * (x[0] ?? 0) - (x[1] ?? 0) / 8;
    return { x, y: signal + next() * 3, c: next() < 1 / (1 + Math.exp(-signal - 3)) ? 1 : 0 };
  });
}

const put = (rows: readonly Row[]): Promise<void> =>
  load(
    database,
    "lab.sample",
    "id int, a float8, b float8, d float8, y float8, c int",
    rows.map(({ x: [a, b, d], y, c }, id) => ({ id, a, b, d, y, c })),
  );

/** How far a fit is from the conditions of its optimum (Karush, Kuhn and Tucker), in the unit of lambda. */
function distance(
  rows: readonly Row[],
  fit: Fit,
  family: string,
  alpha: number,
  lambda: number,
  standardize: boolean,
): number {
  const n = rows.length;
  const residual = rows.map(({ x, y, c }) => {
    const eta = fit.intercept + dot(fit.coef_all, x);
    return family === "gaussian" ? y - eta : c - 1 / (1 + Math.exp(-eta));
  });
  let worst = Math.abs(residual.reduce((a, b) => a + b, 0)) / n;
  for (const [j, coefficient] of fit.coef_all.entries()) {
    const column = rows.map(({ x }) => x[j] ?? 0);
    const mean = column.reduce((a, b) => a + b, 0) / n;
    const unit = standardize ? Math.sqrt(column.reduce((total, value) => total + (value - mean) ** 2, 0) / n) : 1;
    const slope =
      dot(
        column.map((value) => value - mean),
        residual,
      ) /
        (n * unit) -
      lambda * (1 - alpha) * coefficient * unit;
    worst = Math.max(
      worst,
      coefficient === 0 ? Math.abs(slope) - lambda * alpha : Math.abs(slope - lambda * alpha * Math.sign(coefficient)),
    );
  }
  return worst;
}

describe("the optimum", () => {
  test.each(["gaussian", "binomial"])("of %s fulfils its conditions", async (family) => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 1e6 }),
        fc.constantFrom(0, 0.3, 1),
        fc.constantFrom(0.001, 0.02, 0.15),
        fc.boolean(),
        async (seed, alpha, lambda, standardize) => {
          const rows = sample(seed);
          await put(rows);
          const fit = await net(
            family === "gaussian" ? "y" : "c",
            "array[a, b, d]",
            family,
            alpha,
            lambda,
            `, ${standardize}`,
          );
          expect(distance(rows, fit, family, alpha, lambda, standardize)).toBeLessThan(1e-5);
        },
      ),
      { numRuns: 12, seed: 20260401 },
    );
  });

  test("without a penalty it is ordinary regression", async () => {
    await put(sample(5));
    const linear = await net("y", "array[a, b, d]", "gaussian", 1, 0);
    const [plain] = await train<{ coef: number[] }>(
      database,
      "ml.linregr_train('lab.sample', 'lab.model', 'y', 'array[1, a, b, d]')",
    );
    expect(fewestDigits([linear.intercept, ...linear.coef_all], plain?.coef ?? [])).toBeGreaterThan(5);
    await load(
      database,
      "lab.sample",
      "y int, a int, b int",
      patients.map(([y, a, b]) => ({ y, a, b })),
    );
    const logistic = await net("y", "array[a, b]", "binomial", 0.5, 0);
    expect(
      fewestDigits(
        [logistic.intercept, ...logistic.coef_all],
        [-6.36346994178187, -1.02410605239327, 0.119044916668607],
      ),
    ).toBeGreaterThan(5);
  });

  test("a penalty makes separated classes fit", async () => {
    await put(sample(9).map((row) => ({ ...row, c: (row.x[0] ?? 0) > 1.5 ? 1 : 0 })));
    expect(
      await database.rejects("select ml.logregr_train('lab.sample', 'lab.model_c', 'c', 'array[1, a]')"),
    ).toMatchObject({ code: "CF007" });
    const fit = await net("c", "array[a]", "binomial", 0, 0.01);
    expect(fit.coef_all[0]).toBeGreaterThan(0.5);
    expect(Number.isFinite(fit.coef_all[0])).toBe(true);
  });

  test("a large penalty leaves the mean alone", async () => {
    const rows = sample(3);
    await put(rows);
    const fit = await net("y", "array[a, b, d]", "gaussian", 1, 1000);
    expect(fit).toMatchObject({ coef_all: [0, 0, 0], features_selected: [], coef_nonzero: [] });
    expect(fit.intercept).toBeCloseTo(rows.reduce((total, { y }) => total + y, 0) / rows.length, 10);
  });

  test("follows the units of columns, and each row twice changes nothing", async () => {
    const rows = sample(21);
    await put(rows);
    const plain = await net("y", "array[a, b, d]", "gaussian", 0.5, 0.1);
    const scaled = await net("y", "array[a * 1000, b / 7 + 3, d]", "gaussian", 0.5, 0.1);
    const [a = 0, b = 0, d = 0] = plain.coef_all;
    expect(fewestDigits(scaled.coef_all, [a / 1000, b * 7, d])).toBeGreaterThan(5);
    await put([...rows, ...rows].toReversed());
    const twice = await net("y", "array[a, b, d]", "gaussian", 0.5, 0.1);
    expect(fewestDigits(twice.coef_all, plain.coef_all)).toBeGreaterThan(6);
  });

  test("constant columns stay out", async () => {
    await put(sample(2));
    const fit = await net("y", "array[a, id * 0 + 5, b]", "gaussian", 0.5, 0.01);
    expect(fit.coef_all[1]).toBe(0);
    const some = await net("y", "*", "gaussian", 1, 0.5, ", true, null, 'fista', null, 'id, c'");
    expect(some.features).toEqual(["a", "b", "d"]);
  });

  test("array columns and groups", async () => {
    const rows = sample(31, 120);
    await load(
      database,
      "lab.sample",
      "x float8[], y float8, g text",
      rows.map(({ x, y }, i) => ({ x: `{${x.join(",")}}`, y, g: i % 2 ? "odd" : "even" })),
    );
    const fits = await train<Fit & { g: string }>(
      database,
      call("y", "x", "gaussian", 0.5, 0.05, ", true, 'g'"),
      "lab.net",
    );
    for (const fit of fits) {
      const own = rows.filter((_, i) => (i % 2 === 1) === (fit.g === "odd"));
      expect(distance(own, fit, "gaussian", 0.5, 0.05, true)).toBeLessThan(1e-5);
      expect(fit.features).toEqual(["(x)[1]", "(x)[2]", "(x)[3]"]);
    }
    expect(fits).toHaveLength(2);
  });
});

describe("cross-validation", () => {
  test.each(["gaussian", "binomial"])("chooses the lambda of least loss: %s", async (family) => {
    await put(sample(77, 200));
    await database.query("drop table if exists lab.seen");
    const fit = await net(
      family === "gaussian" ? "y" : "c",
      "array[a, b, d]",
      family,
      1,
      null,
      ", true, null, 'fista', 'n_folds=4, n_lambdas=6, alpha={0.5, 1}, validation_result=lab.seen'",
    );
    const seen = await database.rows<{ alpha: number; lambda_value: number; average_loss: number }>(
      "select * from lab.seen order by average_loss",
    );
    expect(seen).toHaveLength(12);
    expect(seen[0]).toMatchObject({ alpha: fit.alpha, lambda_value: fit.lambda_value });
    // the path begins where nothing is selected
    const top = Math.max(...seen.map(({ lambda_value }) => lambda_value));
    expect(
      (await net(family === "gaussian" ? "y" : "c", "array[a, b, d]", family, 0.5, top * 1.0001)).features_selected,
    ).toEqual([]);
    expect(
      (await net(family === "gaussian" ? "y" : "c", "array[a, b, d]", family, 0.5, top * 0.99)).features_selected,
    ).not.toEqual([]);
  });
});

describe("bad input", () => {
  beforeAll(() => put(sample(1)));

  test.each([
    ["lambda < 0", ["y", "array[a]", "gaussian", 1, -1, ""], "CF001"],
    ["alpha over 1", ["y", "array[a]", "gaussian", 1.5, 1, ""], "CF001"],
    ["an unknown family", ["y", "array[a]", "gausian", 1, 1, ""], "CF001"],
    ["a class of three", ["id", "array[a]", "binomial", 1, 1, ""], "CF001"],
    ["one class", ["c * 0", "array[a]", "binomial", 1, 1, ""], "CF004"],
    ["an unknown column", ["y", "array[aa]", "gaussian", 1, 1, ""], "CF002"],
    ["an unknown column to exclude", ["y", "*", "gaussian", 1, 1, ", true, null, 'fista', null, 'zzz'"], "CF002"],
    ["one fold", ["y", "array[a]", "gaussian", 1, 1, ", true, null, 'fista', 'n_folds=1'"], "CF001"],
    ["an unknown option", ["y", "array[a]", "gaussian", 1, 1, ", true, null, 'fista', 'nfolds=3'"], "CF001"],
    [
      "invalid lambdas",
      ["y", "array[a]", "gaussian", 1, 1, ", true, null, 'fista', 'n_folds=3, lambda_value={1, -2}'"],
      "CF001",
    ],
  ] as const)("%s", async (_, [y, x, family, alpha, lambda, more], code) => {
    await database.query("drop table if exists lab.net, lab.net_summary");
    expect(await database.rejects(`select ${call(y, x, family, alpha, lambda, more)}`)).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.net')")).toBeNull();
  });
});

test("without a penalty it is the logistic regression: steep classes are fitted, separated ones refused", async () => {
  await database.query(`create table lab.steep as
    select x, x > 50 and x <> 51 or x = 50 as y, x > 50 as separated from generate_series(1, 100) as x`);
  await database.query("select ml.elastic_net_train('lab.steep', 'lab.free', 'y', 'array[x]', 'binomial', 0.5, 0)");
  expect((await database.value<number[]>("select coef_all from lab.free"))[0]).toBeCloseTo(1.3101302, 5);
  expect(
    await database.rejects(
      "select ml.elastic_net_train('lab.steep', 'lab.none', 'separated', 'array[x]', 'binomial', 0.5, 0)",
    ),
  ).toMatchObject({ code: "CF007", message: expect.stringContaining("separates the classes") });
});
