import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { putTied } from "./regression.ts";

const database = await lab();
beforeAll(() => putTied(database));

interface Robust {
  coef: number[];
  loglikelihood: number;
  std_err: number[];
  robust_se: number[];
  robust_z: number[];
  robust_p: number[];
  hessian: number[][];
}

async function robust(strata: string): Promise<Robust> {
  await database.query("drop table if exists lab.model, lab.model_summary, lab.robust");
  await database.query(`select ml.coxph_train('lab.tied', 'lab.model', 'time', 'array[a, b]', 'seen', ${strata})`);
  await database.query("select ml.robust_variance_coxph('lab.model', 'lab.robust')");
  const [row] = await database.rows<Robust>("select * from lab.robust");
  if (row === undefined) throw new Error("no model");
  return row;
}

test("R's coxph(method = 'breslow', robust = TRUE), with ties", async () => {
  // R 4.2, survival 3.5: sqrt(diag(fit$var)) and sqrt(diag(fit$naive.var))
  const fit = await robust("null");
  expect(fewestDigits(fit.robust_se, [0.107880751995338, 0.31434772320679])).toBeGreaterThan(9);
  expect(fewestDigits(fit.std_err, [0.119751728691298, 0.317644856002004])).toBeGreaterThan(9);
  expect(fit.robust_z[0]).toBeCloseTo(-0.0253177788546218 / 0.107880751995338, 8);
  expect(fit.robust_p[0]).toBeCloseTo(2 * 0.40722739, 6);
  const [model] = await database.rows("select coef, loglikelihood, std_err, hessian from lab.model");
  expect(fit).toMatchObject(model ?? {});
});

test("strata have baselines of their own", async () => {
  // R: coxph(Surv(time, seen) ~ a + b + strata(stratum), method = 'breslow', robust = TRUE)
  expect(fewestDigits((await robust("'stratum'")).robust_se, [0.114250727830662, 0.284097975644585])).toBeGreaterThan(
    9,
  );
});

test("units and origin change no digit", async () => {
  await robust("null");
  await database.query("create view lab.scaled as select time, seen, a * 1e-6 + 1000 as a, b * 1e6 as b from lab.tied");
  await database.query("select ml.coxph_train('lab.scaled', 'lab.unit', 'time', 'array[a, b]', 'seen')");
  await database.query("select ml.robust_variance_coxph('lab.unit', 'lab.unit_robust')");
  const scaled = await database.value<number[]>("select robust_se from lab.unit_robust");
  expect(fewestDigits(scaled, [0.107880751995338e6, 0.31434772320679e-6])).toBeGreaterThan(6);
});

test("what is not a model of ml.coxph_train, Efron's ties and an existing table are refused", async () => {
  await robust("null");
  await database.query(
    "select ml.coxph_train('lab.tied', 'lab.efron', 'time', 'array[a, b]', 'seen', null, 'ties=efron')",
  );
  await database.query("select ml.linregr_train('lab.tied', 'lab.line', 'a', 'array[1, b]')");
  for (const [model, output, code] of [
    ["lab.tied", "lab.none", "CF002"],
    ["lab.line", "lab.none", "CF001"],
    ["lab.efron", "lab.none", "CF001"],
    ["lab.model", "lab.robust", "CF003"],
    ["lab.modell", "lab.none", "CF002"],
  ]) {
    const error = await database.rejects(`select ml.robust_variance_coxph('${model}', '${output}')`);
    expect(error.code, `${model} to ${output}`).toBe(code);
  }
});
