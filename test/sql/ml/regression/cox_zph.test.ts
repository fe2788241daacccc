import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { putStays, putTied, remissions } from "./regression.ts";

const database = await lab();
beforeAll(() => putTied(database));

interface Tested {
  covariate: string;
  rho: number[];
  chi_square: number[];
  p_value: number[];
}

async function zph(train: string): Promise<Tested> {
  await database.query("drop table if exists lab.model, lab.model_summary, lab.tested, lab.tested_residual");
  await database.query(`select ml.coxph_train(${train})`);
  await database.query("select ml.cox_zph('lab.model', 'lab.tested')");
  const [row] = await database.rows<Tested>("select * from lab.tested");
  if (row === undefined) throw new Error("no test");
  return row;
}

test("the example of MADlib's manual", async () => {
  await putStays(database, remissions);
  const tested = await zph("'lab.stay', 'lab.model', 'time', 'array[b, a]', 'seen'");
  expect(tested.covariate).toBe("array[b, a]");
  expect(fewestDigits(tested.rho, [0.00237308357328641, 0.0375600568840431])).toBeGreaterThan(7);
  expect(fewestDigits(tested.chi_square, [0.000100675718191977, 0.0232317400546175])).toBeGreaterThan(7);
  expect(fewestDigits(tested.p_value, [0.991994376850758, 0.878855984657948])).toBeGreaterThan(9);
});

test("with ties, the formulas of R's cox.zph up to survival 2.44", async () => {
  // R 4.2, from resid(fit, "schoenfeld") and fit$var
  const tested = await zph("'lab.tied', 'lab.model', 'time', 'array[a, b]', 'seen'");
  expect(fewestDigits(tested.rho, [-0.00504732398189462, -0.09280478245020202])).toBeGreaterThan(8);
  expect(fewestDigits(tested.chi_square, [0.00110038113772829, 0.3760635224607006])).toBeGreaterThan(8);
  expect(fewestDigits(tested.p_value, [0.973537431956892, 0.539717538528274])).toBeGreaterThan(8);

  const residuals = await database.rows<{ time: number; residual: number[]; scaled_residual: number[] }>(
    "select * from lab.tested_residual order by time, residual",
  );
  expect(residuals.length).toBe(45);
  expect(fewestDigits(residuals[0]?.residual ?? [], [-1.025546523747616, 0.665411354398169])).toBeGreaterThan(8);
  // The residuals add up to 0, and the scaled ones to the coefficients: both are the score equation.
  const coef = await database.value<number[]>("select coef from lab.model");
  for (const i of [0, 1]) {
    const mean = (of: (row: (typeof residuals)[number]) => number): number =>
      residuals.reduce((sum, row) => sum + of(row), 0) / residuals.length;
    expect(mean((row) => row.residual[i] ?? 0)).toBeCloseTo(0, 8);
    expect(mean((row) => row.scaled_residual[i] ?? 0)).toBeCloseTo(coef[i] ?? 0, 8);
  }
});

test("an effect that turns with time is found", async () => {
  // 400 rows: a harms at first and protects later.
  await database.query(`
    create table lab.turning as
    select i % 2 as a, case when i % 2 = 1 then 1 + (i % 10) / 10.0 else 1 + (i % 40) / 10.0 end as time
    from generate_series(1, 400) as i
    union all
    select 1, 6 + i / 100.0 from generate_series(1, 60) as i
  `);
  const tested = await zph("'lab.turning', 'lab.model', 'time', 'array[a]'");
  expect(tested.p_value[0]).toBeLessThan(1e-6);
  expect(tested.rho[0]).toBeLessThan(0);
});

test("an expression as time, and events at one time only", async () => {
  const tested = await zph("'lab.tied', 'lab.model', 'time * 0 + 5', 'array[a, b]', 'seen'");
  expect(tested).toMatchObject({ rho: [null, null], chi_square: [null, null], p_value: [null, null] });
  expect(await database.value("select distinct event_time from lab.tested_residual")).toBe(5);
});

test("what is not a model and existing tables are refused", async () => {
  await zph("'lab.tied', 'lab.model', 'time', 'array[a, b]', 'seen'");
  for (const [model, output, code] of [
    ["lab.tied", "lab.none", "CF002"],
    ["lab.model", "lab.tested", "CF003"],
  ]) {
    expect((await database.rejects(`select ml.cox_zph('${model}', '${output}')`)).code).toBe(code);
  }
  await database.query("alter table lab.tested_residual rename to kept_residual");
  await database.query("create table lab.kept as select 1");
  expect((await database.rejects("select ml.cox_zph('lab.model', 'lab.kept')")).code).toBe("CF003");
});

test("analysts compute what follows from their models, in tables of their session", async () => {
  await database.query("grant usage on schema lab to insights_analyst");
  await database.query("grant select on lab.tied to insights_analyst");
  await database.as("insights_analyst", {}, async (db) => {
    await db.query("select ml.coxph_train('lab.tied', 'pg_temp.cox', 'time', 'array[a, b]', 'seen')");
    await db.query("select ml.cox_zph('pg_temp.cox', 'pg_temp.tested')");
    await db.query("select ml.robust_variance_coxph('pg_temp.cox', 'pg_temp.robust')");
    await db.query("select ml.clustered_variance_coxph('pg_temp.cox', 'pg_temp.clustered', 'learner')");
    await db.query("select ml.robust_variance_mlogregr('lab.tied', 'pg_temp.votes', 'b', 'array[1, a]')");
    await db.query(
      "select ml.clustered_variance_mlogregr('lab.tied', 'pg_temp.choices', 'b', 'array[1, a]', 'learner')",
    );
    await db.query("select ml.logregr_train('lab.tied', 'pg_temp.odds', 'seen', 'array[1, a]')");
    await db.query("select ml.margins('pg_temp.odds', 'pg_temp.effects')");
    expect(await db.value("select (ml.linregr(time, array[1, a])).num_processed::int from lab.tied")).toBe(60);
    expect(
      await db.value("select cardinality(rho) from pg_temp.tested, pg_temp.robust, pg_temp.clustered, pg_temp.effects"),
    ).toBe(2);
  });
});
