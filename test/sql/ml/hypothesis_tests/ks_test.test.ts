import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("the example of MADlib's manual; R's ks.test has the same distance", async () => {
  const sample = `(
    select true as in_first, unnest('{0.22,-0.87,-2.39,-1.79,0.37,-1.54,1.28,-0.31,-0.74,1.72,0.38,-0.17,-0.62,-1.10,0.30,
      0.15,2.30,0.19,-0.50,-0.09}'::float8[]) as value
    union all
    select false, unnest('{-5.13,-2.19,-2.43,-3.83,0.50,-3.25,4.32,1.63,5.18,-0.43,7.11,4.87,-3.10,-5.81,3.76,6.31,2.58,
      0.07,5.76,3.50}'::float8[])
  ) as sample`;
  await expectResult("ml.ks_test(in_first, value, 20, 20 order by value)", sample, {
    statistic: 0.45,
    k_statistic: 1.4926782214936,
    p_value: 0.0232132758544496,
  });
});

test("ties are counted together, and infinity is a value like others", async () => {
  // R: ks.test(c(1, 2, 2, 3), c(2, 2, 2, Inf)): D = 0.25
  await expectResult(
    "ml.ks_test(f, v, 4, 4 order by v)",
    "(values (true, 1::float8), (true, 2), (true, 2), (true, 3), (false, 2), (false, 2), (false, 2), (false, 'Infinity')) as s (f, v)",
    { statistic: 0.25 },
  );
  await expectResult("ml.ks_test(value > 0, 1, 2, 1 order by value)", values(-1, 1, 2), { statistic: 0, p_value: 1 });
});

test("Kolmogorov's distribution, on both sides of 1 and far out", async () => {
  // Smirnov, Table for estimating the goodness of fit (1948): L(0.50) = 0.036055, L(1.36) = 0.950511
  expect(1 - (await database.value<number>("select ml._kolmogorov_p_value(0.5)"))).toBeCloseTo(0.036055, 6);
  expect(1 - (await database.value<number>("select ml._kolmogorov_p_value(1.36)"))).toBeCloseTo(0.950486, 4);
  // R 4.2: 1 - sqrt(2 * pi) / 0.3 * sum(exp(-(2 * (1:50) - 1)^2 * pi^2 / (8 * 0.3^2)))
  expect(await database.value("select ml._kolmogorov_p_value(0.3)")).toBeCloseTo(0.9999906941986655, 15);
  const [below, above] = await database.value<number[]>(
    "select array[ml._kolmogorov_p_value(1 - 1e-15), ml._kolmogorov_p_value(1)]",
  );
  expect(below).toBeCloseTo(above ?? 0, 13);
  expect(
    await database.value(
      "select array[ml._kolmogorov_p_value(0), (ml._kolmogorov_p_value(1e300) < 1e-280)::int]::text",
    ),
  ).toBe("{1,1}");
});

test("no rows and an empty sample give null", async () => {
  expect(await run("ml.ks_test(true, value, 0, 0 order by value)", values())).toBeNull();
  expect(await run("ml.ks_test(true, value, 2, 0 order by value)", values(1, 2, null))).toEqual({
    statistic: null,
    k_statistic: null,
    p_value: null,
  });
});

test("other sizes, missing order and NaN are refused", async () => {
  expect(await refuse("ml.ks_test(value > 1, value, 1, 2 order by value)", values(1, 2))).toMatchObject({
    code: "CF001",
    message: "the samples have 1 and 1 rows, not 1 and 2",
  });
  expect(await refuse("ml.ks_test(value > 1, value, value::int, 2 order by value)", values(1, 2))).toMatchObject({
    code: "CF001",
    message: "the sizes of the samples are 1 and 2, then 2 and 2",
  });
  expect(await refuse("ml.ks_test(true, value, -1, 2 order by value)", values(1, 2))).toMatchObject({ code: "CF001" });
  expect(await refuse("ml.ks_test(true, value, 2, 0 order by value desc)", values(1, 2))).toMatchObject({
    code: "CF001",
    message: "the value 1 comes after 2",
    hint: 'The rows are needed in ascending order: add "order by value" to the arguments of the aggregate.',
  });
  expect(await refuse("ml.ks_test(true, value, 2, 0 order by value)", values(1, "NaN"))).toMatchObject({
    code: "CF001",
    message: "a value is NaN",
  });
});
