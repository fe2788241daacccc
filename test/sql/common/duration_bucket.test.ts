import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { rolesThatMay } from "../../support/roles.ts";

const database = await testDatabase();

const bucket = (seconds: string): Promise<number | null> => database.value(`select common.duration_bucket(${seconds})`);

test("a duration at a bound is counted at it, and the next greater number at the next bound", async () => {
  expect(
    await database.rows(
      `select place::int, common.duration_bucket(bound) as at, common.duration_bucket(bound * (1 + 2e-16::float8)) as above,
         common.duration_bucket(bound * (1 - 2e-16::float8)) as below
       from unnest(common.duration_bounds()) with ordinality as given (bound, place) order by place`,
    ),
  ).toEqual(Array.from({ length: 37 }, (_, n) => ({ place: n + 1, at: n + 1, above: n + 2, below: n + 1 })));
});

test("every number has a bucket", async () => {
  expect(await bucket("0")).toBe(1);
  expect(await bucket("-1e308")).toBe(1);
  expect(await bucket("'-infinity'")).toBe(1);
  expect(await bucket("5e-324")).toBe(1);
  expect(await bucket("1e308")).toBe(38);
  expect(await bucket("'infinity'")).toBe(38);
  expect(await bucket("'NaN'")).toBe(38);
  expect(await bucket("null")).toBe(null);
});

test("is for those who read durations", async () => {
  expect(await rolesThatMay(database, "select common.duration_bucket(1)")).toEqual(["admin", "worker"]);
});
