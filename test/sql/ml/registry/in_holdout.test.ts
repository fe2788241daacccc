import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

test("holds out about the share that is asked for, a quarter unless another is given", async () => {
  const [row] = await database.rows<{ quarter: number; tenth: number; none: number; all: number }>(
    `select avg(ml.in_holdout(i::text)::int)::float8 as quarter, avg(ml.in_holdout(i::text, 0.1)::int)::float8 as tenth,
       avg(ml.in_holdout(i::text, 0)::int)::float8 as none, avg(ml.in_holdout(i::text, 1)::int)::float8 as all
     from generate_series(1, 20000) as i`,
  );
  // Four standard errors of a share of 20,000.
  expect(Math.abs((row?.quarter ?? 0) - 0.25)).toBeLessThan(4 * Math.sqrt((0.25 * 0.75) / 20_000));
  expect(Math.abs((row?.tenth ?? 0) - 0.1)).toBeLessThan(4 * Math.sqrt((0.1 * 0.9) / 20_000));
  expect(row).toMatchObject({ none: 0, all: 1 });
});

test("a larger share holds out the same keys, and more", async () => {
  expect(
    await database.value(
      "select count(*) from generate_series(1, 5000) as i where ml.in_holdout(i::text, 0.2) and not ml.in_holdout(i::text, 0.3)",
    ),
  ).toBe("0");
});

test("a key is where it was in every version: what is held out today was never learned from", async () => {
  // Frozen: another hash would let a model be evaluated on rows that it was trained on.
  expect(
    await database.value(
      "select array_agg(i order by i) from generate_series(1, 40) as i where ml.in_holdout(i::text)",
    ),
  ).toEqual([1, 14, 17, 18, 21, 24, 26, 30, 38, 39]);
  expect(await database.value("select ml.in_holdout(null)")).toBeNull();
  expect(await database.value("select ml.in_holdout('1', null)")).toBeNull();
});
