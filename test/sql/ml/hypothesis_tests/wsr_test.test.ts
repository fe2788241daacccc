import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

/** MADlib's example: S. Holmes, Statistics 141, Stanford. */
const pairs = `(
  select *
  from unnest(
    '{0.32,0.4,0.11,0.47,0.32,0.35,0.32,0.63,0.5,0.6,0.38,0.46,0.2,0.31,0.62,0.52,0.77,0.23,0.3,0.7,0.41,0.53,0.19,0.31,
      0.48}'::float8[],
    '{0.39,0.47,0.11,0.43,0.42,0.3,0.43,0.98,0.86,0.79,0.33,0.45,0.22,0.3,0.6,0.53,0.85,0.21,0.33,0.57,0.43,0.49,0.2,0.35,
      0.4}'::float8[]
  ) as pair (x, y)
) as pair`;

const expected = {
  statistic: 105.5,
  rank_sum_pos: 105.5,
  rank_sum_neg: 194.5,
  num: 24,
  z_statistic: -1.27318365656729,
  p_value_one_sided: 0.898523560667509,
  p_value_two_sided: 0.202952878664983,
};

test("the example of MADlib's manual, with the precision of a difference", async () => {
  await expectResult("ml.wsr_test(x - y, 2 * 2 ^ (-52) * greatest(x, y) order by abs(x - y))", pairs, expected);
});

test("exact differences need no precision: R's wilcox.test(exact = FALSE, correct = FALSE)", async () => {
  // R 4.2: V = 105.5, p-value = 0.2029528786649828, and 0.8985235606675086 for alternative = "greater"
  const exact = `(select round((x - y)::numeric * 100)::float8 as difference from ${pairs}) as exact`;
  await expectResult("ml.wsr_test(difference order by abs(difference))", exact, expected);
  await expectResult("ml.wsr_test(difference, 0 order by abs(difference))", exact, expected);
  await expectResult("ml.wsr_test(-difference order by abs(difference))", exact, {
    statistic: 105.5,
    rank_sum_pos: 194.5,
    z_statistic: 1.27318365656729,
    p_value_one_sided: 1 - 0.898523560667509,
  });
});

test("no rows, zeros only and infinity", async () => {
  expect(await run("ml.wsr_test(value order by abs(value))", values())).toBeNull();
  expect(await run("ml.wsr_test(value order by abs(value))", values(0, 0, null))).toEqual({
    statistic: 0,
    rank_sum_pos: 0,
    rank_sum_neg: 0,
    num: 0,
    z_statistic: null,
    p_value_one_sided: null,
    p_value_two_sided: null,
  });
  expect(
    await run("ml.wsr_test(value order by abs(value))", values("Infinity", "-Infinity", 1, "1.79e308")),
  ).toMatchObject({
    rank_sum_pos: 6.5,
    rank_sum_neg: 3.5,
  });
});

test("missing order, NaN and a precision that is not finite are refused", async () => {
  expect(await refuse("ml.wsr_test(value order by value desc)", values(1, 2))).toMatchObject({
    code: "CF001",
    hint: 'The rows are needed in ascending order: add "order by abs(value)" to the arguments of the aggregate.',
  });
  expect(await refuse("ml.wsr_test(value order by value)", values(0, -2, 1))).toMatchObject({ code: "CF001" });
  expect(await refuse("ml.wsr_test(value order by value)", values("NaN"))).toMatchObject({ code: "CF001" });
  for (const precision of ["NaN", "Infinity", "1e291"]) {
    expect(await refuse(`ml.wsr_test(value, '${precision}' order by value)`, values(1))).toMatchObject({
      code: "CF001",
    });
  }
});
