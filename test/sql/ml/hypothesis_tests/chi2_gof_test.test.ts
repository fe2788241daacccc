import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { testing } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

const blood = "(values (67, 82.28), (83, 84.15), (29, 14.96), (8, 5.61)) as blood_group (observed, expected)";

test("the example of MADlib's manual, whatever the unit of the expected numbers", async () => {
  for (const expected of ["expected", "expected / 187", "expected * 1e40"]) {
    for (const df of ["", ", 0", ", null", ", 3"]) {
      await expectResult(`ml.chi2_gof_test(observed, ${expected}${df})`, blood, {
        statistic: 17.0481013341976,
        p_value: 0.000690824622923826,
        df: 3,
        // R: sqrt(17.0481013341976 / 187); MADlib's code divides by the 4 rows instead of the 187 observations
        phi: Math.sqrt(17.0481013341976 / 187),
        contingency_coef: Math.sqrt(17.0481013341976 / (187 + 17.0481013341976)),
      });
    }
  }
});

test("the same number is expected of all rows by default", async () => {
  // R 4.2: chisq.test(c(67, 83, 29, 8))
  await expectResult("ml.chi2_gof_test(observed)", blood, { statistic: 75.73796791443851, df: 3 });
});

test("counts around 1e15 keep their digits", async () => {
  // chi-squared = 2 (1000000)^2 / 1e15
  await expectResult(
    "ml.chi2_gof_test(observed)",
    "(values (1000000001000000), (999999999000000)) as list (observed)",
    {
      statistic: 0.002,
    },
  );
});

test("partial results add up", async () => {
  await database.query(`
    create schema part;
    create aggregate part.state(bigint, float8, bigint)
      (sfunc = ml._chi2_gof_test_add, stype = float8[], initcond = '{0,0,0,0,0}');
  `);
  for (const condition of ["observed < 50", "true", "false"]) {
    expect(
      await database.value<number>(`
        select (ml._chi2_gof_test(ml._chi2_gof_test_combine(
          part.state(observed, expected, 3) filter (where ${condition}),
          part.state(observed, expected, 3) filter (where not ${condition})
        ))).statistic
        from ${blood}
      `),
    ).toBeCloseTo(17.0481013341976, 12);
  }
});

test("nulls and missing degrees of freedom give null, not an error", async () => {
  expect(await run("ml.chi2_gof_test(null)", "(values (1)) as one")).toBeNull();
  expect(await run("ml.chi2_gof_test(5)", "(values (1)) as one")).toMatchObject({ statistic: 0, df: 0, p_value: null });
  expect(await run("ml.chi2_gof_test(0)", "(values (1), (2)) as two")).toEqual({
    statistic: null,
    p_value: null,
    df: 1,
    phi: null,
    contingency_coef: null,
  });
});

test("impossible counts are refused", async () => {
  const one = "(values (1)) as one";
  expect(await refuse("ml.chi2_gof_test(-1)", one)).toEqual({
    code: "CF001",
    message: "an observed number is -1",
    hint: "Give counts, from 0.",
  });
  for (const expected of ["0", "-2", "NaN", "Infinity"]) {
    expect(await refuse(`ml.chi2_gof_test(1, '${expected}')`, one)).toMatchObject({
      code: "CF001",
      message: `an expected number is ${expected}`,
    });
  }
  expect(await refuse("ml.chi2_gof_test(1, 1, -1)", one)).toMatchObject({ code: "CF001" });
  expect(await refuse("ml.chi2_gof_test(1, 1, number)", "(values (1), (2)) as list (number)")).toMatchObject({
    code: "CF001",
    message: "there are 2 degrees of freedom",
  });
  expect(await refuse("ml.chi2_gof_test(1, 1, 10000001)", one)).toMatchObject({ code: "CF008" });
});
