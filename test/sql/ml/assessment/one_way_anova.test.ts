import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";

const database = await lab();

const weights = [
  4.17, 5.58, 5.18, 6.11, 4.5, 4.61, 5.17, 4.53, 5.33, 5.14, 4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69,
  6.31, 5.12, 5.54, 5.5, 5.37, 5.29, 4.92, 6.15, 5.8, 5.26,
];
await database.query(`create table lab.plant as
  select (i - 1) / 10 as category, weight from unnest(array[${weights.join(", ")}]::float8[]) with ordinality as v (weight, i)`);

test("is that of R 4.2 for PlantGrowth", async () => {
  const [row] = await database.rows<Record<string, number>>(
    "select (ml.one_way_anova(category, weight)).* from lab.plant",
  );
  const expected = [3.76634, 10.49209, 2, 27, 1.88317, 0.388595925926, 4.84608786238, 0.0159099583256];
  for (const [i, value] of Object.values(row ?? {}).entries()) {
    expect(Math.abs(Number(value) / (expected[i] ?? 0) - 1)).toBeLessThan(1e-10);
  }
});

test("the states of two parts of the rows merge to that of all", async () => {
  const state = (condition: string): string => `(
    select array_agg(part.value order by category, part.place)
    from (
      select category, count(*) as n, avg(weight) as mean, var_pop(weight) * count(*) as squares
      from (select *, row_number() over () as i from lab.plant) as numbered
      where ${condition}
      group by category
    ) as grouped
    cross join lateral (values (1, category::float8), (2, n), (3, mean), (4, squares)) as part (place, value)
  )`;
  expect(
    await database.value(
      `select (ml._anova_test(ml._anova_merged(${state("i % 3 = 0 or i > 20")}, ${state("not (i % 3 = 0 or i > 20)")}))).statistic`,
    ),
  ).toBeCloseTo(4.84608786238, 9);
});

test("leaves out nulls, is null without variance, and refuses what is not finite", async () => {
  expect(
    await database.value(`select (ml.one_way_anova(category, weight)).statistic from (
      select * from lab.plant union all select null, 3 union all select 2, null) as more`),
  ).toBeCloseTo(4.84608786238, 9);
  expect(
    await database.value("select (ml.one_way_anova(i % 2, i % 2)).statistic from generate_series(1, 9) as i"),
  ).toBeNull();
  expect(await database.rejects("select ml.one_way_anova(1, 'NaN')")).toMatchObject({ code: "CF001" });
  expect(await database.rejects("select ml.one_way_anova(1, 1e200)")).toMatchObject({ code: "CF007" });
});
