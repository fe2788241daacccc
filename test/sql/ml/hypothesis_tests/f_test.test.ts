import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("the example of MADlib's manual, and R's var.test", async () => {
  for (const origin of [0, 1e9]) {
    await expectResult(`ml.f_test(in_first, value + ${origin})`, cars, {
      statistic: 0.311786921089247,
      df1: 26,
      df2: 23,
      p_value_one_sided: 0.997559863672441,
      p_value_two_sided: 0.00488027265511803,
    });
    // The other way round, R: var.test(japan, usa, alternative = "greater") = 0.002440136327559059
    await expectResult(`ml.f_test(not in_first, value + ${origin})`, cars, {
      statistic: 1 / 0.311786921089247,
      df1: 23,
      df2: 26,
      p_value_one_sided: 0.00488027265511803 / 2,
      p_value_two_sided: 0.00488027265511803,
    });
  }
});

test("a small p-value keeps its digits", async () => {
  // With 2 and 2 degrees of freedom, the probability of at least f is 1 / (1 + f).
  await expectResult("ml.f_test(value > 1, value)", values("1e30", "2e30", "3e30", "1e-3", "2e-3", "3e-3"), {
    p_value_one_sided: 1e-66,
    p_value_two_sided: 2e-66,
  });
});

test("samples without variance give null, not an error", async () => {
  expect(await run("ml.f_test(true, value)", values())).toBeNull();
  const none = { statistic: null, p_value_one_sided: null, p_value_two_sided: null };
  expect(await run("ml.f_test(true, value)", values(1, 2))).toEqual({ ...none, df1: 1, df2: 0 });
  expect(await run("ml.f_test(value < 3, value)", values(1, 2, 3, 3))).toEqual({ ...none, df1: 1, df2: 1 });
  // No variance in the first: 0, as R has it.
  expect(await run("ml.f_test(value > 2, value)", values(1, 2, 3, 3))).toEqual({
    statistic: 0,
    df1: 1,
    df2: 1,
    p_value_one_sided: 1,
    p_value_two_sided: 0,
  });
  expect(await refuse("ml.f_test(true, value)", values("NaN"))).toMatchObject({ code: "CF001" });
});
