import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("the example of MADlib's manual, to all its digits, and R's t.test", async () => {
  await expectResult("ml.t_test_one(value - 20) filter (where in_first)", cars, {
    statistic: -6.0532478722666,
    df: 26,
    p_value_one_sided: 0.999998926789141,
    // R 4.2: 2.146421717767244e-06
    p_value_two_sided: 2.14642171776724e-6,
  });
  await expectResult("ml.t_test_one(value - 15.7) filter (where in_first)", cars, {
    p_value_one_sided: 0.497938118950661,
    p_value_two_sided: 0.995876237901321,
  });
});

test("NIST's hard sample NumAcc4: the standard deviation of 1,001 values near 1e7 is 0.1, to the eight digits that they have", async () => {
  // https://www.itl.nist.gov/div898/strd/univ/numacc4.html: mean 10000000.2, standard deviation 0.1
  const numacc4 = `(
    select 10000000.2::float8 as value
    union all
    select case when i % 2 = 1 then 10000000.1 else 10000000.3 end from generate_series(1, 1000) as i
  ) as numacc4`;
  const { statistic } = await run("ml.t_test_one(value)", numacc4);
  const expected = (10_000_000.2 * Math.sqrt(1001)) / 0.1;
  expect(Math.abs((statistic ?? 0) / expected - 1)).toBeLessThan(1e-8);
});

test("few rows, no variation and nulls give null, not an error", async () => {
  expect(await run("ml.t_test_one(value)", values())).toBeNull();
  expect(await run("ml.t_test_one(value)", values(null))).toBeNull();
  const none = { statistic: null, p_value_one_sided: null, p_value_two_sided: null };
  expect(await run("ml.t_test_one(value)", values(3))).toEqual({ ...none, df: 0 });
  expect(await run("ml.t_test_one(value)", values(3, 3, null))).toEqual({ ...none, df: 1 });
  expect(await run("ml.t_test_one(value)", values(-1, 1))).toEqual({
    statistic: 0,
    df: 1,
    p_value_one_sided: 0.5,
    p_value_two_sided: 1,
  });
});

test("values that are not finite are refused", async () => {
  for (const value of ["NaN", "Infinity", "-Infinity", "1e+101"]) {
    expect(await refuse("ml.t_test_one(value)", values(1, value, 2))).toEqual({
      code: "CF001",
      message: `a value is ${value}`,
      hint: "The test takes finite numbers of at most 1e100 in absolute value: leave out the row, or set its value to null.",
    });
  }
  expect(await run("ml.t_test_one(value)", values("1e100", "-1e100"))).toMatchObject({ statistic: 0 });
});

test("partial results add up", async () => {
  expect(
    await database.value(`
      select ml._t_test_of_one(float8_combine(
        (select float8_accum(float8_accum('{0,0,0}', 3), 5)),
        (select float8_accum('{0,0,0}', 10))
      )) = (select ml.t_test_one(value) from (values (3.0), (5), (10)) as list (value))
    `),
  ).toBe(true);
});
