import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

/** Resistance at three levels: https://www.itl.nist.gov/div898/handbook/prc/section4/prc433.htm, MADlib's example. */
const resistance = `(
  select level, resistance[level] as value
  from (values ('{6.9,8.3,8.0}'::float8[]), ('{5.4,6.8,10.5}'), ('{5.8,7.8,8.1}'), ('{4.6,9.2,6.9}'), ('{4.0,6.5,9.3}'))
    as nist (resistance)
  cross join generate_series(1, 3) as level
) as nist`;

test("the example of MADlib's manual and of NIST", async () => {
  await expectResult("ml.one_way_anova(level, value)", resistance, {
    sum_squares_between: 27.8973333333333,
    sum_squares_within: 17.452,
    df_between: 2,
    df_within: 12,
    mean_squares_between: 13.9486666666667,
    mean_squares_within: 1.45433333333333,
    statistic: 9.59110703644281,
    p_value: 0.0032482226008593,
  });
});

test("R's PlantGrowth, whatever the numbers of the groups and the origin", async () => {
  const plants = `(
    select (i - 1) / 10 as group_no, value
    from unnest('{4.17,5.58,5.18,6.11,4.5,4.61,5.17,4.53,5.33,5.14,4.81,4.17,4.41,3.59,5.87,3.83,6.03,4.89,4.32,4.69,6.31,
      5.12,5.54,5.5,5.37,5.29,4.92,6.15,5.8,5.26}'::float8[]) with ordinality as plant (value, i)
  ) as plant`;
  // R 4.2: oneway.test(weight ~ group, PlantGrowth, var.equal = TRUE)
  for (const number of ["group_no::int", "(-2147483648 + group_no * 2147483647)::int"]) {
    await expectResult(`ml.one_way_anova(${number}, value)`, plants, {
      statistic: 4.846087862380137,
      p_value: 0.01590995832562291,
      df_between: 2,
      df_within: 27,
    });
  }
  // Multiples of 2^-20 are exact near 1e9.
  const rounded = `(select group_no::int, round(value::numeric * 1048576)::float8 / 1048576 as value from ${plants}) as r`;
  expect(await run("ml.one_way_anova(group_no, value + 1e9)", rounded)).toEqual(
    await run("ml.one_way_anova(group_no, value)", rounded),
  );
});

test("with two groups, F is the square of Student's t", async () => {
  const t = await run("ml.t_test_two_pooled(in_first, value)", cars);
  await expectResult("ml.one_way_anova(in_first::int, value)", cars, {
    statistic: (t["statistic"] ?? 0) ** 2,
    p_value: t["p_value_two_sided"] ?? null,
  });
});

test("a hundred groups are as many states, and partial results add up", async () => {
  const many =
    "(select i % 100 * 1000003 as group_no, (i * 7919 % 1000)::float8 as value from generate_series(1, 3000) as i) as many";
  const [expected] = await database.rows<{ within: number; between: number }>(`
    select sum(squares) as within, sum(number * (mean - grand) ^ 2) as between
    from (
      select count(*) as number, avg(value) as mean, (count(*) - 1) * var_samp(value) as squares,
        (select avg(value) from ${many}) as grand
      from ${many}
      group by group_no
    ) as g
  `);
  const result = await run("ml.one_way_anova(group_no, value)", many);
  expect(result).toMatchObject({ df_between: 99, df_within: 2900 });
  expect((result["sum_squares_within"] ?? 0) / (expected?.within ?? 0)).toBeCloseTo(1, 12);
  expect((result["sum_squares_between"] ?? 0) / (expected?.between ?? 0)).toBeCloseTo(1, 12);

  await database.query(`
    create schema part;
    create aggregate part.state(int, float8) (sfunc = ml._one_way_anova_add, stype = float8[], initcond = '{0}');
  `);
  for (const condition of ["value < 300", "group_no < 30000000", "true", "false"]) {
    const statistic = await database.value<number>(`
      select (ml._one_way_anova(ml._one_way_anova_combine(
        part.state(group_no, value) filter (where ${condition}),
        part.state(group_no, value) filter (where not (${condition}))
      ))).statistic
      from ${many}
    `);
    expect(statistic / (result["statistic"] ?? 0), condition).toBeCloseTo(1, 12);
  }
});

test("one group, one value each and no variation give null, not an error", async () => {
  expect(await run("ml.one_way_anova(1, value)", values())).toBeNull();
  expect(await run("ml.one_way_anova(null, value)", values(1))).toBeNull();
  expect(await run("ml.one_way_anova(1, value)", values(1, 2))).toMatchObject({
    df_between: 0,
    mean_squares_between: null,
    statistic: null,
    p_value: null,
  });
  expect(await run("ml.one_way_anova(value::int, value)", values(1, 2))).toMatchObject({
    df_within: 0,
    statistic: null,
  });
  expect(await run("ml.one_way_anova(value::int, value)", values(1, 1, 2))).toMatchObject({
    sum_squares_within: 0,
    statistic: null,
  });
});

test("values that are not finite and too many groups are refused", async () => {
  expect(await refuse("ml.one_way_anova(1, value)", values("NaN"))).toMatchObject({ code: "CF001" });
  expect(await refuse("ml.one_way_anova(i, i)", "generate_series(1, 1001) as i")).toMatchObject({
    code: "CF008",
    message: "there are more than 1000 groups",
  });
});
