import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { digits, fewestDigits } from "../../../support/numbers.ts";
import { carColumns, cars, patients, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  std_err: number[];
  p_values: number[];
  r2: number;
  log_likelihood: number;
  deviance: number;
  dispersion: number;
  arithmetic: string;
  num_rows_processed: string;
  num_missing_rows_skipped: string;
}

async function only(call: string): Promise<Fit> {
  const [row] = await train<Fit>(database, `ml.${call}`);
  if (row === undefined) throw new Error("no model");
  return row;
}

beforeAll(async () => {
  await database.query(`create table lab.car (${carColumns})`);
  await database.query(`insert into lab.car select * from jsonb_populate_recordset(null::lab.car, $1)`, [
    JSON.stringify(cars),
  ]);
});

const both = "weights => 'cyl', offsets => 'qsec / 10'";

/*
 * Expected values of this file: R 4.2.2 with sandwich 3.0, on mtcars with weights = cyl, offset = qsec / 10 and
 * glm.control(epsilon = 1e-14), such as glm(am ~ wt, binomial, weights = cyl, offset = qsec / 10).
 */
describe("as R's lm and glm", () => {
  test("linear", async () => {
    const line = await only(`linregr_train('lab.car', 'lab.model', 'mpg', 'array[1, wt, hp]', ${both})`);
    expect(fewestDigits(line.coef, [34.0630302754, -3.69015552722, -0.027677604295])).toBeGreaterThan(11);
    expect(fewestDigits(line.std_err, [1.64705643158, 0.578445538962, 0.00806963687002])).toBeGreaterThan(11);
    expect(fewestDigits(line.p_values, [6.61118101262e-19, 5.65556114412e-7, 0.00183213288478])).toBeGreaterThan(10);
    // lm(I(mpg - qsec / 10) ~ wt + hp, weights = cyl)
    expect(digits(line.r2, 0.810095078986659)).toBeGreaterThan(12);
    expect(await database.rows("select weights, offsets from lab.model_summary")).toEqual([
      { weights: "cyl", offsets: "qsec / 10" },
    ]);
  });

  test("linear with weights of 0, whose rows are skipped", async () => {
    const line = await only(
      "linregr_train('lab.car', 'lab.model', 'mpg', 'array[1, wt, hp]', weights => 'case when id % 5 = 0 then 0 else gear / 2.0 end')",
    );
    expect(fewestDigits(line.coef, [36.9033402886, -3.97085499722, -0.0285153462693])).toBeGreaterThan(11);
    expect(fewestDigits(line.std_err, [1.71346531653, 0.683529812974, 0.00837887491994])).toBeGreaterThan(11);
    expect(digits(line.r2, 0.832447013222)).toBeGreaterThan(11);
    expect(line).toMatchObject({ num_rows_processed: "26", num_missing_rows_skipped: "6" });
  });

  test("logistic", async () => {
    const logit = await only(`logregr_train('lab.car', 'lab.model', 'am', 'array[1, wt]', ${both})`);
    expect(fewestDigits(logit.coef, [11.2281832662, -4.25018890719])).toBeGreaterThan(10);
    expect(fewestDigits(logit.std_err, [2.13550752137, 0.658918150305])).toBeGreaterThan(6);
    expect(digits(logit.log_likelihood, -65.2894778244)).toBeGreaterThan(11);
  });

  test.each([
    [
      "am",
      "wt",
      "binomial",
      "probit",
      "qsec / 10",
      [5.07460571933, -2.24893417745],
      [1.05045106516, 0.321860006362],
      -71.586795682,
      1,
    ],
    [
      "carb",
      "wt, hp",
      "poisson",
      "log",
      "ln(disp)",
      [-3.68739867726, -0.348700139736, 0.00281397722993],
      [0.185993790364, 0.0534115489395, 0.000652634503498],
      -358.524685667,
      1,
    ],
    [
      "mpg",
      "wt, hp",
      "gamma",
      "log",
      "qsec / 10",
      [1.92796404646, -0.278914481131, 0.00103406527252],
      [0.0901046302932, 0.0316447089691, 0.000441461283799],
      // R's is not the largest over the dispersion
      null,
      0.111998029486,
    ],
    [
      "mpg",
      "wt, hp",
      "inverse_gaussian",
      "log",
      "qsec / 10",
      [1.91247626094, -0.269013533726, 0.000949791938313],
      [0.0961607232117, 0.0297696425895, 0.000439409570628],
      -447.578482059,
      0.00657733159047,
    ],
    [
      "mpg",
      "wt, hp",
      "gaussian",
      "log",
      "qsec / 100",
      [3.67841774978, -0.219107950657, -0.00132243778469],
      [0.0657385811367, 0.0292636893848, 0.000410778373554],
      -67.406731583,
      25.8348789409,
    ],
    [
      "mpg",
      "wt, hp",
      "gaussian",
      "identity",
      "qsec / 10",
      [34.0630302754, -3.69015552722, -0.027677604295],
      [1.64705643158, 0.578445538962, 0.00806963687002],
      -73.3354899961,
      null,
    ],
  ])("glm: %s by %s, %s, %s", async (y, x, family, link, offsets, coef, stdErr, likelihood, dispersion) => {
    const model = await only(
      `glm('lab.car', 'lab.model', '${y}', 'array[1, ${x}]', 'family=${family}, link=${link}', weights => 'cyl', offsets => '${offsets}')`,
    );
    expect(fewestDigits(model.coef, coef)).toBeGreaterThan(7);
    expect(fewestDigits(model.std_err, stdErr)).toBeGreaterThan(6.5);
    if (likelihood !== null) expect(digits(model.log_likelihood, likelihood)).toBeGreaterThan(10);
    if (dispersion !== null) expect(digits(model.dispersion, dispersion)).toBeGreaterThan(7);
  });

  test.each([
    ["linregr", "mpg", "wt, hp", "HC0", [1.96044678737, 0.61049162086, 0.00616778312099]],
    ["linregr", "mpg", "wt, hp", "HC1", [2.05935419569, 0.641291816207, 0.00647895680216]],
    ["linregr", "mpg", "wt, hp", "HC2", [2.11614664176, 0.686021477715, 0.00740638614139]],
    ["linregr", "mpg", "wt, hp", "HC3", [2.29114554221, 0.777597939531, 0.00910846233358]],
    ["logregr", "am", "wt", "HC0", [5.71498061463, 1.78535594021]],
    ["logregr", "am", "wt", "HC1", [5.9024065985, 1.84390768627]],
    ["logregr", "am", "wt", "HC2", [5.94658779658, 1.85533278711]],
    ["logregr", "am", "wt", "HC3", [6.19076389512, 1.9289036285]],
  ])("robust errors: %s of %s by %s, %s", async (method, y, x, hc, expected) => {
    const model = await only(
      `robust_variance_${method}('lab.car', 'lab.model', '${y}', 'array[1, ${x}]', hc => '${hc}', ${both})`,
    );
    expect(fewestDigits(model.std_err, expected)).toBeGreaterThan(9);
  });

  test.each([
    ["linregr", "mpg", "wt, hp", [2.55233813714, 0.840729003276, 0.00632669948185]],
    ["logregr", "am", "wt", [7.01847490315, 2.15659583778]],
  ])("clustered errors: %s of %s by %s", async (method, y, x, expected) => {
    const model = await only(
      `clustered_variance_${method}('lab.car', 'lab.model', '${y}', 'array[1, ${x}]', 'carb', ${both})`,
    );
    expect(fewestDigits(model.std_err, expected)).toBeGreaterThan(9);
  });

  test("by groups", async () => {
    const fits = await train<Fit & { am: number }>(
      database,
      "ml.glm('lab.car', 'lab.model', 'carb', 'array[1, wt]', 'family=poisson', 'am', weights => 'cyl')",
    );
    // glm(carb ~ wt, poisson, weights = cyl, subset = am == …)
    const coef = (am: number): number[] => fits.find((row) => row.am === am)?.coef ?? [];
    expect(fewestDigits(coef(0), [-0.0730560913937531, 0.2832243027677324])).toBeGreaterThan(9);
    expect(fewestDigits(coef(1), [-1.270563822044849, 0.919771280346589])).toBeGreaterThan(9);
  });
});

describe("a whole weight stands for as many rows", () => {
  beforeAll(() =>
    database.query("create view lab.repeated as select car.* from lab.car, generate_series(1, gear * 2) as part"),
  );

  test.each([
    ["logregr_train", "am", "array[1, wt]", ""],
    ["glm", "carb", "array[1, wt, hp]", ", 'family=poisson'"],
    ["glm", "am", "array[wt, qsec - 15]", ", 'family=binomial, link=probit'"],
  ])("%s of %s by %s", async (method, y, x, more) => {
    const weighted = await only(`${method}('lab.car', 'lab.model', '${y}', '${x}'${more}, weights => 'gear * 2')`);
    const repeated = await only(`${method}('lab.repeated', 'lab.model', '${y}', '${x}'${more})`);
    expect(fewestDigits(weighted.coef, repeated.coef)).toBeGreaterThan(7);
    expect(fewestDigits(weighted.std_err, repeated.std_err)).toBeGreaterThan(6);
    expect(digits(weighted.log_likelihood, repeated.log_likelihood)).toBeGreaterThan(11);
    expect(weighted.num_rows_processed).toBe("32");
  });

  test("linear, in double precision and in numeric", async () => {
    for (const x of ["array[1, wt, hp]", "array[1, wt, wt + hp * 1e-9]"]) {
      const weighted = await only(`linregr_train('lab.car', 'lab.model', 'mpg', '${x}', weights => 'gear * 2')`);
      const repeated = await only(`linregr_train('lab.repeated', 'lab.model', 'mpg', '${x}')`);
      expect(weighted.arithmetic).toBe(x.includes("e-9") ? "numeric" : "float8");
      expect(fewestDigits(weighted.coef, repeated.coef)).toBeGreaterThan(9);
      expect(digits(weighted.r2, repeated.r2)).toBeGreaterThan(10);
      // 29 degrees of freedom instead of those of the repeated rows
      const df = Number(repeated.num_rows_processed) - 3;
      expect(
        fewestDigits(
          weighted.std_err,
          repeated.std_err.map((error) => error * Math.sqrt(df / 29)),
        ),
      ).toBeGreaterThan(9);
    }
  });
});

test("a common factor of the weights changes no coefficient, and no error of a linear model", async () => {
  const x = "array[1, wt, hp]";
  const line = await only(`linregr_train('lab.car', 'lab.model', 'mpg', '${x}', weights => 'cyl')`);
  const logit = await only("logregr_train('lab.car', 'lab.model', 'am', 'array[1, wt]', weights => 'cyl')");
  for (const factor of ["1e-30", "1e-9", "1e30"]) {
    const scaled = await only(`linregr_train('lab.car', 'lab.model', 'mpg', '${x}', weights => 'cyl * ${factor}')`);
    expect(fewestDigits(scaled.coef, line.coef)).toBeGreaterThan(11);
    expect(fewestDigits(scaled.std_err, line.std_err)).toBeGreaterThan(11);
    const odds = await only(
      `logregr_train('lab.car', 'lab.model', 'am', 'array[1, wt]', weights => 'cyl * ${factor}')`,
    );
    expect(fewestDigits(odds.coef, logit.coef)).toBeGreaterThan(7);
  }
});

test("an offset is a column whose coefficient is 1, without an intercept, too", async () => {
  await load(
    database,
    "lab.patients",
    "y int, a int, b int",
    patients.map(([y, a, b]) => ({ y, a, b })),
  );
  for (const x of ["array[1, a, b]", "array[a, b]"]) {
    const plain = await only(`logregr_train('lab.patients', 'lab.model', 'y', '${x}')`);
    const shifted = await only(`logregr_train('lab.patients', 'lab.model', 'y', '${x}', offsets => 'b * 0.05 - a')`);
    const at = x.includes("1,") ? 1 : 0;
    expect(shifted.coef[at]).toBeCloseTo((plain.coef[at] ?? 0) + 1, 8);
    expect(shifted.coef[at + 1]).toBeCloseTo((plain.coef[at + 1] ?? 0) - 0.05, 8);
    expect(digits(shifted.log_likelihood, plain.log_likelihood)).toBeGreaterThan(10);
  }
});

describe("bad input", () => {
  test.each([
    ["a negative weight", "weights => 'case when id = 7 then -1.5 else cyl end'", "CF001", /^row \(id = 7\) .* -1.5$/],
    ["NaN", "weights => 'case when id = 7 then ''NaN'' else wt end'", "CF001", /^row \(id = 7\) .* weight NaN$/],
    ["infinity", "weights => 'case when id = 7 then ''inf'' else wt end'", "CF001", /^row \(id = 7\) .* Infinity$/],
    ["a null", "weights => 'nullif(carb, 8)'", "CF001", /^row \(id = 31\) of "lab.car" has the weight null$/],
    ["too large a weight", "weights => '1e200 * id'", "CF001", /^row \(id = 1\) of "lab.car" has the weight 1/],
    ["no weight above 0", "weights => 'cyl * 0'", "CF004", /no row without a null has a weight above 0$/],
    ["two expressions", "weights => 'cyl, gear'", "CF001", /^the weights "cyl, gear" is more than one expression$/],
    ["an unknown column", "weights => 'cyll'", "CF002", /^weights: "lab.car" has no column "cyll"$/],
    ["text", "offsets => 'id::text'", "CF001", /^offsets: "id::text" is of type text, not a number$/],
    ["an infinite offset", "offsets => 'case when id = 7 then ''inf'' else wt end'", "CF001", /NaN or infinity$/],
  ])("%s", async (_, more, code, message) => {
    for (const call of [
      `linregr_train('lab.car', 'lab.bad', 'mpg', 'array[1, wt]', ${more})`,
      `logregr_train('lab.car', 'lab.bad', 'am', 'array[1, wt]', ${more})`,
      `glm('lab.car', 'lab.bad', 'carb', 'array[1, wt]', 'family=poisson', ${more})`,
      `robust_variance_linregr('lab.car', 'lab.bad', 'mpg', 'array[1, wt]', ${more})`,
    ]) {
      expect(await database.rejects(`select ml.${call}`)).toMatchObject({
        code,
        message: expect.stringMatching(message) as string,
      });
    }
    expect(await database.value("select to_regclass('lab.bad')")).toBeNull();
  });

  test("a null offset skips the row", async () => {
    const line = await only("linregr_train('lab.car', 'lab.model', 'mpg', 'array[1, wt]', offsets => 'nullif(id, 7)')");
    expect(line).toMatchObject({ num_rows_processed: "31", num_missing_rows_skipped: "1" });
    const logit = await only(
      "logregr_train('lab.car', 'lab.model', 'am', 'array[1, wt]', offsets => 'nullif(wt, 5.25)')",
    );
    expect(logit).toMatchObject({ num_rows_processed: "31", num_missing_rows_skipped: "1" });
  });

  test("Breusch and Pagan's test with weights, and marginal effects of a weighted model", async () => {
    expect(
      await database.rejects(
        "select ml.linregr_train('lab.car', 'lab.bad', 'mpg', 'array[1, wt]', null, true, weights => 'cyl')",
      ),
    ).toMatchObject({ code: "CF001" });
    await only("logregr_train('lab.car', 'lab.model', 'am', 'array[1, wt]', weights => 'cyl')");
    expect(await database.rejects("select ml.margins('lab.model', 'lab.bad')")).toMatchObject({
      code: "CF001",
      message: '"lab.model" was trained with weights or offsets',
    });
  });
});
