import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("the example of MADlib's manual, and R's t.test", async () => {
  for (const origin of [0, 1e9]) {
    await expectResult(`ml.t_test_two_unpooled(in_first, value + ${origin})`, cars, {
      statistic: -8.61746388524314,
      df: 35.1283818346179,
      // R 4.2; MADlib's manual has 3.57563867403599e-10, of an approximation
      p_value_two_sided: 3.467842672999218e-10,
      p_value_one_sided: 1 - 1.733921336499609e-10,
    });
  }
});

test("samples without variance give null, not an error", async () => {
  const none = { statistic: null, df: null, p_value_one_sided: null, p_value_two_sided: null };
  expect(await run("ml.t_test_two_unpooled(true, value)", values())).toBeNull();
  expect(await run("ml.t_test_two_unpooled(true, value)", values(1, 2))).toEqual(none);
  expect(await run("ml.t_test_two_unpooled(value > 2, value)", values(1, 2, 3))).toEqual(none);
  expect(await run("ml.t_test_two_unpooled(value > 2, value)", values(1, 1, 3, 3))).toEqual(none);
});

test("scales that differ by 1e190 do not overflow: the larger variance decides", async () => {
  // As with one sample of 4 and a fixed mean: 4 values from 1e98 to 7e98
  await expectResult(
    "ml.t_test_two_unpooled(value > 1, value)",
    values("1e98", "3e98", "5e98", "7e98", "1e-95", "2e-95", "3e-95"),
    { statistic: 4e98 / (Math.sqrt(20 / 3) * 1e98 * 0.5), df: 3 },
  );
  expect(await refuse("ml.t_test_two_unpooled(true, value)", values("-Infinity"))).toMatchObject({ code: "CF001" });
});
