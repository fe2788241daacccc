import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";

const database = await lab();

interface Result {
  statistic: number;
  p_value: number;
  df: string;
  phi: number;
  contingency_coef: number;
}

test("is chisq.test of R 4.2 for given shares, whatever they add up to", async () => {
  for (const scale of [1, 7, 0.001]) {
    const [row] = await database.rows<Result>(
      `select (ml.chi2_gof_test(o, e * ${scale}, 0)).* from (values (20, 0.2), (15, 0.2), (25, 0.3), (30, 0.3)) as v (o, e)`,
    );
    expect(row?.statistic).toBeCloseTo(1.2037037037, 9);
    expect(row?.p_value).toBeCloseTo(0.752116148257, 9);
    expect(row?.df).toBe("3");
    // MADlib divides by the number of rows.
    expect(row?.phi).toBeCloseTo(Math.sqrt(1.2037037037 / 4), 9);
    expect(row?.contingency_coef).toBeCloseTo(Math.sqrt(1.2037037037 / 5.2037037037), 9);
  }
});

test("tests the independence of R's HairEyeColor", async () => {
  await database.query(`create table lab.hair as
    select (i - 1) % 4 as hair, (i - 1) / 4 as eye, n
    from unnest(array[68, 119, 26, 7, 20, 84, 17, 94, 15, 54, 14, 10, 5, 29, 14, 16]) with ordinality as v (n, i)`);
  const [row] = await database.rows<Result>(`
    select (ml.chi2_gof_test(n, expected, 9)).*
    from (
      select n, sum(n) over (partition by hair) * sum(n) over (partition by eye) / (sum(n) over ())::float8 as expected
      from lab.hair
    ) as table_of_counts`);
  expect(row?.statistic).toBeCloseTo(138.289841626, 8);
  expect(Math.abs((row?.p_value ?? 0) / 2.3252867871e-25 - 1)).toBeLessThan(1e-9);
});

test("is null without observations, and refuses what is not a count", async () => {
  expect(await database.value("select (ml.chi2_gof_test(1, 1, 0)).statistic where false")).toBeNull();
  expect(await database.value("select (ml.chi2_gof_test(0, 1, 0)).statistic")).toBeNull();
  for (const row of ["-1, 1, 0", "1, 0, 0", "1, 'NaN', 0", "1, 'Infinity', 0", "1, 1, -1"]) {
    expect(await database.rejects(`select ml.chi2_gof_test(${row})`)).toMatchObject({ code: "CF001" });
  }
  expect(await database.rejects("select ml.chi2_gof_test(1, 1, df) from generate_series(1, 2) as df")).toMatchObject({
    code: "CF001",
  });
});
