import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { sleep, testing } from "./samples.ts";

const database = await testDatabase();
const { run, expectResult, refuse } = testing(database);

test("Student's own data, by R's t.test(paired = TRUE)", async () => {
  // R 4.2: t.test(sleep$extra[1:10], sleep$extra[11:20], paired = TRUE)
  await expectResult("ml.t_test_paired(one, other)", sleep, {
    statistic: -4.062127683382037,
    df: 9,
    p_value_two_sided: 0.00283289019738427,
    p_value_one_sided: 1 - 0.00283289019738427 / 2,
  });
});

test("pairs near 1e9 lose no digit that they have", async () => {
  // Multiples of 2^-20 are exact near 1e9.
  const pairs = (origin: number): string => `(
    select ${origin} + one * 1048576 / 1048576 as one, ${origin} + other as other
    from (select i / 1048576.0::float8 as one, (i * 7 % 11) / 1024.0::float8 as other from generate_series(1, 100) as i)
      as pair
  ) as pair`;
  expect(await run("ml.t_test_paired(one, other)", pairs(1e9))).toEqual(
    await run("ml.t_test_paired(one, other)", pairs(0)),
  );
});

test("pairs with a null are left out, and values that are not finite are refused", async () => {
  const pairs = "(values (1::float8, 2::float8), (2, 5), (null, 1), (7, null)) as pair (one, other)";
  expect(await run("ml.t_test_paired(one, other)", pairs)).toMatchObject({ df: 1, statistic: -2 });
  expect(
    await run("ml.t_test_paired(one, other)", "(select 1::float8 as one, null::float8 as other) as pair"),
  ).toBeNull();
  expect(await refuse("ml.t_test_paired(1, 'NaN')", "(values (1)) as row")).toMatchObject({
    code: "CF001",
    message: "a value is NaN",
  });
});
