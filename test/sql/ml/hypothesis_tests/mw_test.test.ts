import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { cars, testing, values } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("the example of MADlib's manual, which has many ties", async () => {
  await expectResult("ml.mw_test(in_first, value order by value)", cars, {
    statistic: -5.50097925755249,
    u_statistic: 32.5,
    p_value_one_sided: 0.999999981115618,
    p_value_two_sided: 3.7768764588375816e-8,
  });
});

test("NIST's example of two processes", async () => {
  // https://www.itl.nist.gov/div898/handbook/prc/section3/prc35.htm: U = 40, z = -1.346133, one-sided p 0.089130
  const processes = `(
    select true as in_first, unnest('{.55,.67,.43,.51,.48,.60,.71,.53,.44,.65,.75}'::float8[]) as value
    union all select false, unnest('{.49,.68,.59,.72,.67,.75,.65,.77,.62,.48,.59}'::float8[])
  ) as process`;
  const { statistic, u_statistic, p_value_one_sided } = await run(
    "ml.mw_test(in_first, value order by value)",
    processes,
  );
  expect(u_statistic).toBe(40);
  expect(statistic).toBeCloseTo(-1.346133, 6);
  expect(1 - (p_value_one_sided ?? 0)).toBeCloseTo(0.08913, 6);
});

test("without ties, R's wilcox.test(exact = FALSE, correct = FALSE)", async () => {
  // R 4.2: wilcox.test(c(1.1, 2.2, 3.3, 4.4, 9.5), c(2.5, 7.1, 8.2, 9.9, 10.5, 11), …)
  const sample = `(
    select true as in_first, unnest('{1.1,2.2,3.3,4.4,9.5}'::float8[]) as value
    union all select false, unnest('{2.5,7.1,8.2,9.9,10.5,11}'::float8[])
  ) as sample`;
  const expected = { u_statistic: 5, p_value_two_sided: 0.067889154861829 };
  await expectResult("ml.mw_test(in_first, value order by value)", sample, expected);
  // The smaller U, whichever sample it is of
  await expectResult("ml.mw_test(not in_first, value order by value)", sample, expected);
});

test("no rows and an empty sample give null; equal values have a p-value of 1", async () => {
  expect(await run("ml.mw_test(true, value order by value)", values())).toBeNull();
  expect(await run("ml.mw_test(true, value order by value)", values(1, 2))).toMatchObject({ p_value_two_sided: null });
  expect(await run("ml.mw_test(value > 1, 7 order by value)", values(1, 2, null))).toMatchObject({
    statistic: 0,
    p_value_two_sided: 1,
  });
  expect(await run("ml.mw_test(value > 1, value order by value)", values("-Infinity", "Infinity"))).toMatchObject({
    u_statistic: 0,
  });
});

test("missing order and NaN are refused", async () => {
  expect(await refuse("ml.mw_test(true, value order by value desc)", values(1, 2))).toMatchObject({ code: "CF001" });
  expect(await refuse("ml.mw_test(true, value order by value)", values("NaN"))).toMatchObject({
    code: "CF001",
    message: "a value is NaN",
  });
});
