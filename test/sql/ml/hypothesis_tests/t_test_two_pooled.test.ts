import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

const expected = {
  statistic: -8.89342267075968,
  df: 49,
  p_value_one_sided: 0.999999999995748,
  // R 4.2, t.test(var.equal = TRUE); MADlib's manual has 8.50408632402377e-12, of an approximation
  p_value_two_sided: 8.504016629479153e-12,
};

test("the example of MADlib's manual, and R's t.test(var.equal = TRUE)", async () => {
  await expectResult("ml.t_test_two_pooled(in_first, value)", cars, expected);
});

test("an origin of 1e9 or 1e15 changes no digit", async () => {
  for (const origin of ["1e9", "-1e9", "1e15"]) {
    await expectResult(`ml.t_test_two_pooled(in_first, value + ${origin})`, cars, expected);
  }
});

test("a first value far from the others costs no digits", async () => {
  // R 4.2: t.test(c(1e9, 1:1000), c(0, 1:1000), var.equal = TRUE)
  const sample = `(
    select true as in_first, 1e9::float8 as value
    union all select false, 0
    union all select f, i from generate_series(1, 1000) as i, (values (true), (false)) as side (f)
  ) as sample`;
  const { statistic } = await run("ml.t_test_two_pooled(in_first, value)", sample);
  expect(statistic).toBeCloseTo(1.000000500416709, 12);
});

test("partial results add up, whichever of them is empty", async () => {
  await database.query(`
    create schema part;
    create aggregate part.state(boolean, float8)
      (sfunc = ml._two_samples_add, stype = float8[], initcond = '{0,0,0,0,0,0,0,0}');
  `);
  for (const condition of ["value < 20", "in_first", "true", "value > 15 and not in_first"]) {
    const combined = await database.value<number>(`
      select (ml._t_test_two_pooled(ml._two_samples_combine(
        part.state(in_first, value + 1e9) filter (where ${condition}),
        part.state(in_first, value + 1e9) filter (where not (${condition}))
      ))).statistic
      from ${cars}
    `);
    expect(combined, condition).toBeCloseTo(expected.statistic, 12);
  }
});

test("samples without rows or variation give null, not an error", async () => {
  const none = { statistic: null, p_value_one_sided: null, p_value_two_sided: null };
  expect(await run("ml.t_test_two_pooled(true, value)", values())).toBeNull();
  expect(await run("ml.t_test_two_pooled(true, value)", values(1, 2, 3))).toEqual({ ...none, df: 1 });
  expect(await run("ml.t_test_two_pooled(value > 1, value)", values(1, 2))).toEqual({ ...none, df: 0 });
  expect(await run("ml.t_test_two_pooled(value > 1, value)", values(1, 2, 2))).toEqual({ ...none, df: 1 });
  expect(await run("ml.t_test_two_pooled(value > 1, value)", values("1e-150", "2e-150", 2))).toEqual({
    ...none,
    df: 1,
  });
  // One row is enough on one side, as in R: t.test(c(1, 3), 5, var.equal = TRUE)
  await expectResult("ml.t_test_two_pooled(value < 4, value)", values(1, 3, 5, null), {
    statistic: -1.7320508075688772,
    p_value_two_sided: 1 / 3,
  });
});

test("values that are not finite are refused", async () => {
  expect(await refuse("ml.t_test_two_pooled(true, value)", values(1, "Infinity"))).toMatchObject({
    code: "CF001",
    message: "a value is Infinity",
  });
});
