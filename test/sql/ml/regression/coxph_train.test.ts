import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { dot, generator } from "../../../support/matrix.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { putStays, remissions, type Stay, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  loglikelihood: number;
  std_err: number[];
  z_stats: number[];
  p_values: number[];
  hessian: number[][];
  num_events: string;
  converged: boolean;
}

async function cox(x: string, more = ""): Promise<Fit> {
  const [fit] = await train<Fit>(database, `ml.coxph_train('lab.stay', 'lab.model', 'time', '${x}'${more})`);
  if (fit === undefined) throw new Error("no model");
  return fit;
}

/** Learners who leave in whole weeks, so with ties; a third is censored. */
function stays(seed: number, count = 70): Stay[] {
  const next = generator(seed);
  return Array.from({ length: count }, () => {
    const x = [next() * 2, next() < 0.5 ? 0 : 1];
    return {
      x,
      time: Math.ceil((-Math.log(next() + 1e-9) * 8) / Math.exp(0.8 * (x[0] ?? 0) - 0.6 * (x[1] ?? 0))),
      seen: next() < 0.7,
      stratum: next() < 0.4 ? 1 : 2,
    };
  });
}

/** Log partial likelihood from its definition. */
function likelihood(rows: readonly Stay[], beta: readonly number[], efron: boolean, strata: boolean): number {
  let total = 0;
  for (const stratum of strata ? [1, 2] : [0]) {
    const own = strata ? rows.filter((row) => row.stratum === stratum) : rows;
    for (const time of new Set(own.filter((row) => row.seen).map((row) => row.time))) {
      const risk = own.filter((row) => row.time >= time).reduce((sum, row) => sum + Math.exp(dot(beta, row.x)), 0);
      const events = own.filter((row) => row.seen && row.time === time);
      const tied = events.reduce((sum, row) => sum + Math.exp(dot(beta, row.x)), 0);
      for (const [nth, row] of events.entries())
        total += dot(beta, row.x) - Math.log(risk - (efron ? (nth / events.length) * tied : 0));
    }
  }
  return total;
}

test("MADlib's documented example", async () => {
  await putStays(database, remissions);
  const fit = await cox("ARRAY[b, a]", ", 'seen'");
  expect(fewestDigits(fit.coef, [2.54407073265254, 1.67172094779487])).toBeGreaterThan(9);
  expect(digits(fit.loglikelihood, -37.8532498733)).toBeGreaterThan(11);
  expect(fewestDigits(fit.std_err, [0.677180599294897, 0.387195514577534])).toBeGreaterThan(8);
  expect(fewestDigits(fit.p_values, [0.000172060691513886, 1.5779844638453e-5])).toBeGreaterThan(8);
  expect(
    fewestDigits(fit.hessian.flat(), [2.78043065745617, -2.25848560642414, -2.25848560642414, 8.50472838284472]),
  ).toBeGreaterThan(8);
  // without a status every row is an event
  expect(fewestDigits((await cox("ARRAY[b, a]")).coef, fit.coef)).toBe(16);
});

describe("properties", () => {
  test.each([
    ["Breslow", false, false],
    ["Efron", true, false],
    ["Efron, by strata", true, true],
    ["Breslow, by strata", false, true],
  ])("%s: the likelihood is the definition's, and nowhere larger", async (_, efron, strata) => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 1e6 }), async (seed) => {
        const rows = stays(seed);
        await putStays(database, rows);
        const fit = await cox(
          "array[a, b]",
          `, 'seen', ${strata ? "'stratum'" : "null"}, 'ties=${efron ? "efron" : "breslow"}'`,
        );
        expect(digits(fit.loglikelihood, likelihood(rows, fit.coef, efron, strata))).toBeGreaterThan(9);
        const step = 1e-4;
        const at = (da: number, db: number): number =>
          likelihood(rows, [(fit.coef[0] ?? 0) + da, (fit.coef[1] ?? 0) + db], efron, strata);
        expect(Math.abs(at(step, 0) - at(-step, 0)) / (2 * step)).toBeLessThan(1e-5);
        expect(Math.abs(at(0, step) - at(0, -step)) / (2 * step)).toBeLessThan(1e-5);
        const curvature = -(at(step, 0) - 2 * at(0, 0) + at(-step, 0)) / step ** 2;
        expect(digits(fit.hessian[0]?.[0] ?? 0, curvature)).toBeGreaterThan(3);
        expect(Number(fit.num_events)).toBe(rows.filter((row) => row.seen).length);
      }),
      { numRuns: 5, seed: 20260601 },
    );
  });

  test("only the order of times matters, and units of columns divide", async () => {
    await putStays(database, stays(4));
    const plain = await cox("array[a, b]", ", 'seen'");
    await database.query("update lab.stay set time = time * time + 3");
    expect(
      fewestDigits((await cox("array[a * 1000 + 7, b]", ", 'seen'")).coef, [
        (plain.coef[0] ?? 0) / 1000,
        plain.coef[1] ?? 0,
      ]),
    ).toBeGreaterThan(8);
  });

  test("order of rows, and nulls", async () => {
    const rows = stays(8);
    await putStays(database, rows);
    const plain = await cox("array[a, b]", ", 'seen'");
    await putStays(database, rows.toReversed());
    await database.query("insert into lab.stay (time, seen, a) values (3, true, 1), (5, null, 1)");
    expect(fewestDigits((await cox("array[a, b]", ", 'seen'")).coef, plain.coef)).toBeGreaterThan(10);
    expect(await database.value("select num_missing_rows_skipped from lab.model_summary")).toBe("2");
  });
});

describe("bad input", () => {
  test.each([
    ["no events", "'lab.stay', 'lab.none', 'time', 'array[a]', 'false'", "CF004"],
    ["a constant column", "'lab.stay', 'lab.none', 'time', 'array[a, 1]', 'seen'", "CF007"],
    ["collinear columns", "'lab.stay', 'lab.none', 'time', 'array[a, 2 * a]', 'seen'", "CF007"],
    ["a column that orders the events", "'lab.stay', 'lab.none', 'time', 'array[time]', 'seen'", "CF007"],
    ["a status that is not boolean", "'lab.stay', 'lab.none', 'time', 'array[a]', 'a'", "CF001"],
    ["an unknown way with ties", "'lab.stay', 'lab.none', 'time', 'array[a]', 'seen', null, 'ties=exactly'", "CF001"],
    ["an unknown stratum", "'lab.stay', 'lab.none', 'time', 'array[a]', 'seen', 'strat'", "CF002"],
    ["text for time", "'lab.stay', 'lab.none', 'time::text', 'array[a]', 'seen'", "CF001"],
  ])("%s", async (_, parameters, code) => {
    await putStays(database, stays(2));
    await database.query("drop table if exists lab.none, lab.none_summary");
    expect(await database.rejects(`select ml.coxph_train(${parameters})`)).toMatchObject({ code });
    expect(await database.value("select to_regclass('lab.none')")).toBeNull();
  });
});
