import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { digits } from "../../../support/numbers.ts";
import { testing } from "./samples.ts";

const database = await testDatabase();
const { expectResult } = testing(database);

const groups = (rows: string): string => `(
  select count(value) as n, avg(value) as mean, var_samp(value) as variance from ${rows} group by level
) as summed`;

/** Resistance at three levels: https://www.itl.nist.gov/div898/handbook/prc/section4/prc433.htm, MADlib's example. */
const resistance = `(
  select level, resistance[level] as value
  from (values ('{6.9,8.3,8.0}'::float8[]), ('{5.4,6.8,10.5}'), ('{5.8,7.8,8.1}'), ('{4.6,9.2,6.9}'), ('{4.0,6.5,9.3}'))
    as nist (resistance)
  cross join generate_series(1, 3) as level
) as nist`;

test("the example of MADlib's manual and of NIST", async () => {
  await expectResult("ml.one_way_anova_by_group(n, mean, variance)", groups(resistance), {
    sum_squares_between: 27.8973333333333,
    sum_squares_within: 17.452,
    df_between: 2,
    df_within: 12,
    statistic: 9.59110703644281,
    p_value: 0.0032482226008593,
  });
});

test("as ml.one_way_anova, with groups of one row and without any", async () => {
  await database.query(`
    create schema lab;
    create table lab.score as
    select i % 90 as level, ((i * 7919) % 1009)::float8 / 7 + i % 90 as value from generate_series(1, 3000) as i
    union all select 90, 5
    union all select 91, null`);
  const [both] = await database.rows<Record<string, number>>(`
    select row_to_json(ml.one_way_anova(level::int, value)) as plain,
      (select row_to_json(ml.one_way_anova_by_group(n, mean, variance)) from ${groups("lab.score")}) as summed
    from lab.score`);
  const { plain, summed } = both as unknown as Record<"plain" | "summed", Record<string, number>>;
  expect(plain["df_between"]).toBe(90);
  for (const [name, value] of Object.entries(plain)) expect(digits(summed[name] ?? 0, value)).toBeGreaterThan(10);
});

test("three hundred thousand rows in two thousand groups, the sums of which are known", async () => {
  // each group holds 1 … 150 plus its number
  await expectResult(
    "ml.one_way_anova_by_group(n, mean, variance)",
    groups(
      "(select i % 2000 as level, (i / 2000 + i % 2000)::float8 as value from generate_series(0, 299999) as i) as numbers",
    ),
    {
      sum_squares_within: (2000 * 150 * (150 * 150 - 1)) / 12,
      sum_squares_between: (150 * 2000 * (2000 * 2000 - 1)) / 12,
      df_between: 1999,
      df_within: 298000,
    },
  );
});

test("no groups, and bad input", async () => {
  expect(
    await database.value(
      "select ml.one_way_anova_by_group(n, 0, 0) is null from (values (0::bigint), (null)) as g (n)",
    ),
  ).toBe(true);
  for (const [call, message] of [
    ["-1, 0, 0", /^a group has -1 rows$/],
    ["2, 0, -4", /^a group has the variance -4$/],
    ["2, 0, 'NaN'", /^a group has the variance NaN$/],
    ["2, 'NaN', 1", /NaN/],
    ["2, 'Infinity', 1", /Infinity/],
    ["2, 1e200, 1", /1e\+?200/],
  ] as const) {
    expect(await database.rejects(`select ml.one_way_anova_by_group(${call})`)).toMatchObject({
      code: "CF001",
      message: expect.stringMatching(message) as string,
    });
  }
});
