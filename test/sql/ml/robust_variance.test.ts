import { beforeAll, describe, expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { dot, fewestDigits, invert, load, patients, random, train } from "./regression.ts";

const database = await testDatabase();
await database.query("create schema lab");

interface Fit {
  coef: number[];
  std_err: number[];
  p_values: number[];
  variance_covariance: number[][];
  num_clusters?: string;
}

async function model(call: string): Promise<Fit> {
  const [row] = await train<Fit>(database, call);
  if (row === undefined) throw new Error("no model");
  return row;
}

/** Rows whose spread grows with a and whose errors are shared within a class. */
const next = random(99);
const shared = Array.from({ length: 12 }, () => next() * 6 - 3);
const rows = Array.from({ length: 96 }, (_, id) => {
  const [a, b, g] = [next() * 10, next() * 4 + 1000, id % 12];
  const y = 2 + a - 0.5 * b + (shared[g] ?? 0) + a * (next() - 0.5);
  return { id, a, b, g, y, c: y + 490 > 0 ? (next() < 0.9 ? 1 : 0) : next() < 0.2 ? 1 : 0 };
});
const columns = "id int, a float8, b float8, g int, y float8, c int";
beforeAll(() => load(database, "lab.sample", columns, rows));

/** Sandwich errors from their definition: squared scores, or squared totals of clusters. */
function sandwich(
  coef: readonly number[],
  logistic: boolean,
  cluster: ((row: (typeof rows)[number]) => number) | null,
): number[] {
  const at = rows.map((row) => {
    // b is moved to its middle: the errors of all but the intercept do not change, and the inverse keeps its digits
    const x = [1, row.a, row.b - 1002];
    const eta = dot(coef, [1, row.a, row.b]);
    const mu = logistic ? 1 / (1 + Math.exp(-eta)) : eta;
    return { x, weight: logistic ? mu * (1 - mu) : 1, score: (logistic ? row.c : row.y) - mu, row };
  });
  const bread = invert(
    [0, 1, 2].map((i) =>
      [0, 1, 2].map((j) => at.reduce((total, { x, weight }) => total + weight * (x[i] ?? 0) * (x[j] ?? 0), 0)),
    ),
  );
  const totals = new Map<number, number[]>();
  for (const { x, score, row } of at) {
    const key = cluster === null ? row.id : cluster(row);
    const total = totals.get(key) ?? [0, 0, 0];
    totals.set(
      key,
      total.map((value, i) => value + score * (x[i] ?? 0)),
    );
  }
  const meat = [0, 1, 2].map((i) =>
    [0, 1, 2].map((j) => [...totals.values()].reduce((sum, total) => sum + (total[i] ?? 0) * (total[j] ?? 0), 0)),
  );
  const [m, n] = [totals.size, rows.length];
  const factor = cluster === null ? 1 : (m / (m - 1)) * ((n - 1) / (n - 3));
  return [1, 2].map((i) => {
    const half = [0, 1, 2].map((j) =>
      dot(
        bread[i] ?? [],
        meat.map((row) => row[j] ?? 0),
      ),
    );
    return Math.sqrt(
      factor *
        dot(
          half,
          bread.map((row) => row[i] ?? 0),
        ),
    );
  });
}

describe("robust", () => {
  test("MADlib's documented example, which equals R's vcovHC(type = 'HC0')", async () => {
    await load(
      database,
      "lab.patients",
      "y int, a int, b int",
      patients.map(([y, a, b]) => ({ y, a, b })),
    );
    const robust = await model("ml.robust_variance_logregr('lab.patients', 'lab.model', 'y', 'array[1, a, b]')");
    expect(fewestDigits(robust.std_err, [3.45872062333648, 1.1716192578234, 0.0534328864185018])).toBeGreaterThan(9);
    expect(fewestDigits(robust.p_values, [0.0657926909738889, 0.382066744585541, 0.0258849510757339])).toBeGreaterThan(
      8,
    );
  });

  test("linear and logistic equal the definition", async () => {
    const linear = await model("ml.robust_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
    expect(fewestDigits(linear.std_err.slice(1), sandwich(linear.coef, false, null))).toBeGreaterThan(8);
    const logistic = await model("ml.robust_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]')");
    expect(fewestDigits(logistic.std_err.slice(1), sandwich(logistic.coef, true, null))).toBeGreaterThan(6);
  });

  test("the coefficients are those of the plain fit", async () => {
    const robust = await model("ml.robust_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
    const [plain] = await train<Fit>(
      database,
      "ml.linregr_train('lab.sample', 'lab.plain', 'y', 'array[1, a, b]')",
      "lab.plain",
    );
    expect(fewestDigits(robust.coef, plain?.coef ?? [])).toBeGreaterThan(9);
  });
});

describe("clustered", () => {
  test("linear and logistic equal the definition", async () => {
    const linear = await model("ml.clustered_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]', 'g')");
    expect(
      fewestDigits(
        linear.std_err.slice(1),
        sandwich(linear.coef, false, ({ g }) => g),
      ),
    ).toBeGreaterThan(8);
    expect(linear.num_clusters).toBe("12");
    const logistic = await model(
      "ml.clustered_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]', 'g')",
    );
    expect(
      fewestDigits(
        logistic.std_err.slice(1),
        sandwich(logistic.coef, true, ({ g }) => g),
      ),
    ).toBeGreaterThan(6);
  });

  test("copies of a row in its cluster add nothing", async () => {
    const once = await model("ml.clustered_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]', 'id')");
    await database.query("create or replace view lab.copied as select sample.* from lab.sample, generate_series(1, 5)");
    const copied = await model("ml.clustered_variance_linregr('lab.copied', 'lab.model', 'y', 'array[1, a, b]', 'id')");
    const factor = Math.sqrt(95 / 93 / ((5 * 96 - 1) / (5 * 96 - 3)));
    expect(
      fewestDigits(
        once.std_err,
        copied.std_err.map((error) => error * factor),
      ),
    ).toBeGreaterThan(7);
    const naive = await train<Fit>(
      database,
      "ml.linregr_train('lab.copied', 'lab.plain', 'y', 'array[1, a, b]')",
      "lab.plain",
    );
    expect(naive[0]?.std_err[1] ?? 0).toBeLessThan((copied.std_err[1] ?? 0) / 1.5);
  });

  test("by group, and by several columns", async () => {
    await database.query("create or replace view lab.halves as select *, id % 2 as half from lab.sample");
    const fits = await train<Fit>(
      database,
      "ml.clustered_variance_linregr('lab.halves', 'lab.model', 'y', 'array[1, a]', 'g, half', 'half')",
    );
    expect(fits.map((row) => row.num_clusters)).toEqual(["6", "6"]);
  });
});

test.each([
  ["no cluster column", "clustered_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a]', null)", "CF001"],
  [
    "an unknown cluster column",
    "clustered_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a]', 'gg')",
    "CF002",
  ],
  ["one cluster", "clustered_variance_linregr('lab.single', 'lab.none', 'y', 'array[1, a]', 'one')", "CF004"],
  ["collinear columns", "robust_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a, 2 * a]')", "CF007"],
  ["one class", "robust_variance_logregr('lab.sample', 'lab.none', 'c * 0', 'array[1, a]')", "CF004"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
