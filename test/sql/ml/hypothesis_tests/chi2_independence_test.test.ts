import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { testing } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

/** Colours of hair and eyes: Friendly, Visualizing Categorical Data (2000), p. 61; MADlib's example. */
const friendly = `(
  select hair::text, eye::text, (array[[5, 29, 14, 16], [15, 54, 14, 10], [20, 84, 17, 94], [68, 119, 26, 7]])[hair][eye]
    as observed
  from generate_series(1, 4) as hair, generate_series(1, 4) as eye
) as friendly`;

test("the example of MADlib's manual, and R's chisq.test(correct = FALSE)", async () => {
  const expected = {
    statistic: 138.289841626008,
    p_value: 2.32528678709871e-25,
    df: 9,
    phi: Math.sqrt(138.289841626008 / 592),
  };
  const result = await run("ml.chi2_independence_test(hair, eye, observed)", friendly);
  expect(result["p_value"]).toBeCloseTo(expected.p_value, 36);
  await expectResult("ml.chi2_independence_test(hair, eye, observed)", friendly, {
    ...expected,
    p_value: result["p_value"] ?? null,
  });
  // MADlib's way, by the expected numbers
  await expectResult(
    "ml.chi2_gof_test(observed, expected, 9)",
    `(
      select observed, sum(observed) over (partition by hair)::float8 * sum(observed) over (partition by eye) as expected
      from ${friendly}
    ) as cell`,
    { statistic: expected.statistic, df: 9, phi: expected.phi },
  );
});

test("pairs without a row have no observations, and rows of the same pair are added", async () => {
  // R: chisq.test(matrix(c(10, 0, 0, 10), 2), correct = FALSE): X-squared = 20, df = 1
  const sparse =
    "(values ('a', 'x', 4), ('a', 'x', 6), ('b', 'y', 10), ('c', 'x', 0), (null, 'x', 5)) as cell (a, b, n)";
  await expectResult("ml.chi2_independence_test(a, b, n)", sparse, { statistic: 20, df: 1, phi: 1 });
});

test("values longer than 64 bytes are distinguished", async () => {
  const long = `(
    select repeat('x', 70) || a as a, repeat('é', 70) || b as b, case when a = b then 10 end as n
    from generate_series(1, 2) as a, generate_series(1, 2) as b
  ) as cell`;
  await expectResult("ml.chi2_independence_test(a, b, n)", long, { statistic: 20, df: 1 });
});

test("one row or column, and no observations, give null, not an error", async () => {
  expect(await run("ml.chi2_independence_test('a', 'b', null)", "(values (1)) as one")).toBeNull();
  expect(await run("ml.chi2_independence_test('a', b, 3)", "(values ('x'), ('y')) as list (b)")).toMatchObject({
    statistic: 0,
    p_value: null,
    df: 0,
  });
  expect(await run("ml.chi2_independence_test('a', b, 0)", "(values ('x'), ('y')) as list (b)")).toMatchObject({
    statistic: null,
    p_value: null,
  });
});

test("negative counts and too many rows are refused", async () => {
  expect(await refuse("ml.chi2_independence_test('a', 'b', -1)", "(values (1)) as one")).toMatchObject({
    code: "CF001",
    message: "an observed number is -1",
  });
  expect(await refuse("ml.chi2_independence_test('a', 'b', 1)", "generate_series(1, 10001)")).toMatchObject({
    code: "CF008",
    message: "there are more than 10000 rows",
  });
});
