import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot, inverse } from "../../../support/matrix.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { patients, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  log_likelihood: number;
  std_err: number[];
  z_stats?: number[];
  t_stats?: number[];
  p_values: number[];
  dispersion: number;
  deviance: number;
  num_rows_processed: string;
  converged: boolean;
}

async function glm(source: string, y: string, x: string, family: string, more = ""): Promise<Fit> {
  const [fit] = await train<Fit>(database, `ml.glm('${source}', 'lab.model', '${y}', '${x}', '${family}'${more})`);
  if (fit === undefined) throw new Error("no model");
  return fit;
}

/** R's warpbreaks (Tippett 1950), as in the documentation of MADlib's glm: breaks by wool A, B and tension L, M, H. */
const breaks = [
  26, 30, 54, 25, 70, 52, 51, 26, 67, 18, 21, 29, 17, 12, 18, 35, 30, 36, 36, 21, 24, 18, 10, 43, 28, 15, 26, 27, 14,
  29, 19, 29, 31, 41, 20, 44, 42, 26, 19, 16, 39, 28, 21, 39, 29, 20, 21, 24, 17, 13, 15, 15, 16, 28,
];
const warp = breaks.map((y, i) => ({
  y,
  b: i >= 27 ? 1 : 0,
  m: Math.floor(i / 9) % 3 === 1 ? 1 : 0,
  h: Math.floor(i / 9) % 3 === 2 ? 1 : 0,
}));
beforeAll(() => load(database, "lab.warp", "y int, b int, m int, h int", warp));

/** Mean and slope of a link, variance of a family. */
const links: Record<string, [(eta: number) => number, (eta: number) => number]> = {
  identity: [(eta) => eta, () => 1],
  log: [Math.exp, Math.exp],
  inverse: [(eta) => 1 / eta, (eta) => -1 / eta ** 2],
  sqr_inverse: [(eta) => eta ** -0.5, (eta) => -0.5 * eta ** -1.5],
  sqrt: [(eta) => eta ** 2, (eta) => 2 * eta],
};
const variances: Record<string, (mu: number) => number> = {
  gaussian: () => 1,
  poisson: (mu) => mu,
  gamma: (mu) => mu ** 2,
  inverse_gaussian: (mu) => mu ** 3,
};

describe("families and links", () => {
  test("MADlib's documented example: poisson, log", async () => {
    const fit = await glm("lab.warp", "y", "array[1, b, m, h]", "family=poisson, link=log");
    expect(
      fewestDigits(fit.coef, [3.69196314494079, -0.205988442638621, -0.321320431600611, -0.51848849651156]),
    ).toBeGreaterThan(10);
    expect(
      fewestDigits(fit.std_err, [0.04541079434248, 0.0515712427835191, 0.0602659166951256, 0.0639595193956924]),
    ).toBeGreaterThan(7);
    expect(
      fewestDigits(fit.z_stats ?? null, [81.3014438174473, -3.99425011926316, -5.3317106786264, -8.10651020224019]),
    ).toBeGreaterThan(7);
    expect(digits(fit.log_likelihood, -242.527983208979)).toBeGreaterThan(12);
    expect(digits(fit.p_values[3] ?? 0, 5.20943463005751e-16)).toBeGreaterThan(6);
    expect(fit).toMatchObject({ dispersion: 1, converged: true, num_rows_processed: "54" });
  });

  test.each([
    ["gaussian", "identity"],
    ["gaussian", "log"],
    ["gaussian", "inverse"],
    ["poisson", "log"],
    ["poisson", "identity"],
    ["poisson", "sqrt"],
    ["gamma", "inverse"],
    ["gamma", "identity"],
    ["gamma", "log"],
    ["inverse_gaussian", "sqr_inverse"],
    ["inverse_gaussian", "log"],
    ["inverse_gaussian", "identity"],
    ["inverse_gaussian", "inverse"],
  ])("%s, %s: the score vanishes, and the errors are those of the information", async (family, link) => {
    const fit = await glm("lab.warp", "y", "array[1, b, m, h]", `family=${family}, link=${link}`);
    const [mean, slope] = links[link] ?? [Number, Number];
    const variance = variances[family] ?? Number;
    const x = warp.map((row) => [1, row.b, row.m, row.h]);
    const at = x.map((row, i) => {
      const eta = dot(row, fit.coef);
      const mu = mean(eta);
      return {
        y: breaks[i] ?? 0,
        mu,
        weight: slope(eta) ** 2 / variance(mu),
        score: ((breaks[i] ?? 0) - mu) * (slope(eta) / variance(mu)),
      };
    });
    const information =
      x[0]?.map(
        (_, j) =>
          x[0]?.map((__, k) =>
            x.reduce((total, row, i) => total + (row[j] ?? 0) * (row[k] ?? 0) * (at[i]?.weight ?? 0), 0),
          ) ?? [],
      ) ?? [];
    const covariance = inverse(information);
    for (let j = 0; j < 4; j++) {
      const score = x.reduce((total, row, i) => total + (row[j] ?? 0) * (at[i]?.score ?? 0), 0);
      expect(Math.abs(score) * Math.sqrt(covariance[j]?.[j] ?? 0)).toBeLessThan(1e-6 * Math.sqrt(fit.dispersion));
    }
    const pearson = at.reduce((total, { y, mu }) => total + (y - mu) ** 2 / variance(mu), 0);
    const dispersion = family === "poisson" ? 1 : pearson / 50;
    expect(digits(fit.dispersion, dispersion)).toBeGreaterThan(6);
    expect(
      fewestDigits(
        fit.std_err,
        covariance.map((row, j) => Math.sqrt((row[j] ?? 0) * dispersion)),
      ),
    ).toBeGreaterThan(5);
    expect("t_stats" in fit).toBe(family !== "poisson");
  });

  test("gaussian with identity is linear regression", async () => {
    const fit = await glm("lab.warp", "y", "array[1, b, m, h]", "family=gaussian");
    const [linear] = await train<{ coef: number[]; std_err: number[]; p_values: number[] }>(
      database,
      "ml.linregr_train('lab.warp', 'lab.line', 'y', 'array[1, b, m, h]')",
      "lab.line",
    );
    expect(fewestDigits(fit.coef, linear?.coef ?? [])).toBeGreaterThan(10);
    expect(fewestDigits(fit.std_err, linear?.std_err ?? [])).toBeGreaterThan(9);
    expect(fewestDigits(fit.p_values, linear?.p_values ?? [])).toBeGreaterThan(8);
    const rss = (await database.value<number>(
      "select sum((y - ml.linregr_predict(coef, array[1, b, m, h])) ^ 2) from lab.warp, lab.line",
    )) as number;
    expect(digits(fit.log_likelihood, -27 * (Math.log((2 * Math.PI * rss) / 54) + 1))).toBeGreaterThan(12);
  });

  test("likelihoods of gamma and inverse gaussian are the largest over the dispersion", async () => {
    const gamma = await glm("lab.warp", "y", "array[1, b, m, h]", "family=gamma, link=log");
    const logGamma = (x: number): number => {
      let [value, at] = [0, x];
      while (at < 20) value -= Math.log(at++);
      return (
        value +
        (at - 0.5) * Math.log(at) -
        at +
        0.5 * Math.log(2 * Math.PI) +
        1 / (12 * at) -
        1 / (360 * at ** 3) +
        1 / (1260 * at ** 5)
      );
    };
    const mu = warp.map((row) => Math.exp(dot(gamma.coef, [1, row.b, row.m, row.h])));
    const likelihood = (a: number): number =>
      mu.reduce(
        (total, m, i) =>
          total +
          a * Math.log((a * (breaks[i] ?? 1)) / m) -
          (a * (breaks[i] ?? 1)) / m -
          Math.log(breaks[i] ?? 1) -
          logGamma(a),
        0,
      );
    const largest = Math.max(...Array.from({ length: 20_000 }, (_, i) => likelihood(2 + i / 1000)));
    expect(gamma.log_likelihood).toBeCloseTo(largest, 6);
    const gaussian = await glm("lab.warp", "y", "array[1, b, m, h]", "family=inverse_gaussian, link=log");
    const means = warp.map((row) => Math.exp(dot(gaussian.coef, [1, row.b, row.m, row.h])));
    const density = (phi: number): number =>
      means.reduce(
        (total, m, i) =>
          total -
          0.5 * Math.log(2 * Math.PI * phi * (breaks[i] ?? 1) ** 3) -
          ((breaks[i] ?? 1) - m) ** 2 / (2 * phi * (breaks[i] ?? 1) * m ** 2),
        0,
      );
    const best = Math.max(...Array.from({ length: 20_000 }, (_, i) => density(0.002 + i * 5e-7)));
    expect(gaussian.log_likelihood).toBeCloseTo(best, 5);
  });

  test("binomial: logit is logistic regression, probit solves its own score", async () => {
    await load(
      database,
      "lab.patients",
      "y int, a int, b int",
      patients.map(([y, a, b]) => ({ y, a, b })),
    );
    const logit = await glm("lab.patients", "y", "array[1, a, b]", "family=binomial");
    expect(fewestDigits(logit.coef, [-6.36346994178187, -1.02410605239327, 0.119044916668607])).toBeGreaterThan(9);
    const probit = await glm("lab.patients", "y", "array[1, a, b]", "family=binomial, link=probit");
    const cumulative = (z: number): number => {
      let [term, total] = [z, z];
      for (let i = 1; i < 300; i++) {
        term *= (-z * z) / (2 * i);
        total += term / (2 * i + 1);
      }
      return 0.5 + total / Math.sqrt(2 * Math.PI);
    };
    for (let j = 0; j < 3; j++) {
      const score = patients.reduce((total, [y, a, b]) => {
        const x = [1, a, b];
        const eta = dot(x, probit.coef);
        const p = cumulative(eta);
        return total + ((x[j] ?? 0) * (y - p) * Math.exp((-eta * eta) / 2)) / (p * (1 - p));
      }, 0);
      expect(Math.abs(score)).toBeLessThan(1e-6);
    }
  });

  test("without an intercept, cell means", async () => {
    const fit = await glm("lab.warp", "y", "array[1 - m - h, m, h]", "family=gamma, link=inverse");
    const means = [0, 1, 2].map(
      (level) => breaks.filter((_, i) => Math.floor(i / 9) % 3 === level).reduce((a, b) => a + b, 0) / 18,
    );
    expect(
      fewestDigits(
        fit.coef,
        means.map((mean) => 1 / mean),
      ),
    ).toBeGreaterThan(8);
  });

  test("grouped, each row twice, and predictions", async () => {
    const fits = await train<Fit & { b: number }>(
      database,
      "ml.glm('lab.warp', 'lab.model', 'y', 'array[1, m, h]', 'family=poisson, link=log', 'b')",
    );
    for (const fit of fits) {
      // saturated in tension: the fitted means are the cell means
      const cell = warp.filter((row) => row.b === fit.b && row.m === 1).map((row) => row.y);
      const mean = cell.reduce((a, b) => a + b, 0) / cell.length;
      expect(await database.value("select ml.glm_predict($1, '{1, 1, 0}', 'log')", [fit.coef])).toBeCloseTo(mean, 6);
    }
    const once = await glm("lab.warp", "y", "array[1, b, m, h]", "family=gamma, link=log");
    await database.query("create or replace view lab.twice as select * from lab.warp union all select * from lab.warp");
    const twice = await glm("lab.twice", "y", "array[1, b, m, h]", "family=gamma, link=log");
    expect(fewestDigits(twice.coef, once.coef)).toBeGreaterThan(8);
    expect(digits(twice.deviance, 2 * once.deviance)).toBeGreaterThan(8);
  });
});

describe("bad input", () => {
  test.each([
    ["an unknown family", "y", "family=poison", "CF001"],
    ["a link of another family", "y", "family=poisson, link=logit", "CF001"],
    ["an unknown option", "y", "famly=poisson", "CF001"],
    ["no pair", "y", "poisson", "CF001"],
    ["negative counts", "y - 30", "family=poisson", "CF001"],
    ["zero for gamma", "y - 10", "family=gamma", "CF001"],
    ["a mean that the log link cannot reach", "-y", "family=gaussian, link=log", "CF001"],
    ["nothing but zeros", "y * 0", "family=poisson", "CF004"],
  ])("%s", async (_, y, family, code) => {
    await database.query("drop table if exists lab.model, lab.model_summary");
    expect(
      await database.rejects("select ml.glm('lab.warp', 'lab.model', $1, 'array[1, b]', $2)", [y, family]),
    ).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.model')")).toBeNull();
  });

  test("collinear columns, and an unknown link in a prediction", async () => {
    await database.query("drop table if exists lab.model, lab.model_summary");
    expect(
      await database.rejects(
        "select ml.glm('lab.warp', 'lab.model', 'y', 'array[1, m, h, 1 - m - h]', 'family=gamma')",
      ),
    ).toMatchObject({ code: "CF007", message: expect.stringContaining('"1 - m - h"') as string });
  });
});

test("probit and counts that are separated for some rows are refused; steep ones that overlap are fitted", async () => {
  await database.query(`
    create table lab.some as
    select x, (x > 60)::int as late, x > 60 or (x * 7919) % 3 = 0 as passed, case when x > 60 then 0 else 1 + x % 4 end as visits,
      x > 50 and x <> 51 or x = 50 as steep
    from generate_series(1, 100) as x`);
  for (const [y, x, family] of [
    ["passed", "array[1, late]", "family=binomial, link=probit"],
    ["passed", "array[1, late, x]", "family=binomial, link=probit"],
    ["passed", "array[1, late]", "family=binomial, link=logit"],
    ["visits", "array[1, late]", "family=poisson, link=log"],
  ] as const) {
    expect(
      await database.rejects("select ml.glm('lab.some', 'lab.separated', $1, $2, $3)", [y, x, family]),
    ).toMatchObject({ code: "CF007", message: expect.stringContaining('column "late" separates') });
  }
  await database.query(
    "select ml.glm('lab.some', 'lab.steep', 'steep', 'array[1, x]', 'family=binomial, link=probit')",
  );
  // R 4.2: glm(y ~ x, binomial(probit)).
  const [fit] = await database.rows<{ coef: number[]; std_err: number[] }>("select coef, std_err from lab.steep");
  expect(fit?.coef[1]).toBeCloseTo(0.781564, 5);
  expect(fit?.std_err[1]).toBeCloseTo(0.465106, 4);
});

test.each([
  ["z", "array[1, x]", "family=gaussian", [0, 0]],
  ["z + 3", "array[1, x]", "family=gaussian", [3, 0]],
  ["2 * x", "array[x]", "family=inverse_gaussian, link=identity", [2]],
])("no residual remains of %s on %s with %s", async (y, x, family, coef) => {
  await database.query(
    "create table if not exists lab.exact as select i::float8 as x, 0::float8 as z from generate_series(1, 20) as i",
  );
  const [fit] = await train<Fit>(database, `ml.glm('lab.exact', 'lab.model', '${y}', '${x}', '${family}')`);
  expect(fit?.coef.map((value) => Math.round(value * 1e9) / 1e9 + 0)).toEqual(coef);
  expect(fit).toMatchObject({ log_likelihood: null, deviance: 0, dispersion: 0, converged: true });
});
