import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { patients, sandwich, sandwichColumns, sandwichRows, train } from "./regression.ts";

const database = await lab();

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
beforeAll(() => load(database, "lab.sample", sandwichColumns, sandwichRows));

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
    const logistic = await model("ml.robust_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]')");
    expect(fewestDigits(logistic.std_err.slice(1), sandwich(logistic.coef, true, null))).toBeGreaterThan(6);
  });
});

test.each([
  ["one class", "robust_variance_logregr('lab.sample', 'lab.none', 'c * 0', 'array[1, a]')", "CF004"],
  ["an unknown column", "robust_variance_logregr('lab.sample', 'lab.none', 'c', 'array[1, aa]')", "CF002"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});

// R 4.2: mtcars, vcovHC of the package sandwich.
test.each([
  ["HC0", [4.956064523, 1.55774314]],
  ["HC1", [5.118601429, 1.608830197]],
  ["HC2", [5.232006578, 1.640308593]],
  ["HC3", [5.525052471, 1.727898328]],
])("%s is that of R", async (hc, expected) => {
  await database.query(`
    drop table if exists lab.car, lab.car_model, lab.car_model_summary, lab.car_models, lab.car_models_summary;
    create table lab.car (mpg float8, wt float8, hp float8, am int);
    insert into lab.car values
      (21, 2.62, 110, 1), (21, 2.875, 110, 1), (22.8, 2.32, 93, 1), (21.4, 3.215, 110, 0), (18.7, 3.44, 175, 0),
      (18.1, 3.46, 105, 0), (14.3, 3.57, 245, 0), (24.4, 3.19, 62, 0), (22.8, 3.15, 95, 0), (19.2, 3.44, 123, 0),
      (17.8, 3.44, 123, 0), (16.4, 4.07, 180, 0), (17.3, 3.73, 180, 0), (15.2, 3.78, 180, 0), (10.4, 5.25, 205, 0),
      (10.4, 5.424, 215, 0), (14.7, 5.345, 230, 0), (32.4, 2.2, 66, 1), (30.4, 1.615, 52, 1), (33.9, 1.835, 65, 1),
      (21.5, 2.465, 97, 0), (15.5, 3.52, 150, 0), (15.2, 3.435, 150, 0), (13.3, 3.84, 245, 0), (19.2, 3.845, 175,
      0), (27.3, 1.935, 66, 1), (26, 2.14, 91, 1), (30.4, 1.513, 113, 1), (15.8, 3.17, 264, 1), (19.7, 2.77, 175,
      1), (15, 3.57, 335, 1), (21.4, 2.78, 109, 1)`);
  await database.query(
    "select ml.robust_variance_logregr('lab.car', 'lab.car_model', 'am', 'array[1, wt]', hc => $1)",
    [hc],
  );
  const errors = await database.value<number[]>("select std_err from lab.car_model");
  for (const [i, value] of expected.entries()) expect(Math.abs((errors[i] ?? 0) / value - 1)).toBeLessThan(1e-6);
  // The same for each of two groups of the same rows.
  await database.query("insert into lab.car select * from lab.car; alter table lab.car add half int");
  await database.query(
    "update lab.car set half = (select count(*) from lab.car as other where other.ctid < car.ctid) / 32",
  );
  await database.query(
    "select ml.robust_variance_logregr('lab.car', 'lab.car_models', 'am', 'array[1, wt]', 'half', hc => $1)",
    [hc],
  );
  for (const { std_err } of await database.rows<{ std_err: number[] }>("select std_err from lab.car_models")) {
    for (const [i, value] of expected.entries()) expect(Math.abs((std_err[i] ?? 0) / value - 1)).toBeLessThan(1e-6);
  }
});

test("an unknown correction is refused", async () => {
  expect(
    await database.rejects(
      "select ml.robust_variance_logregr('lab.car', 'lab.car_other', 'am', 'array[1, wt]', hc => 'HC9')",
    ),
  ).toMatchObject({ code: "CF001" });
});
