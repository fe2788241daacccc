import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { sleep } from "./sleep.ts";

const database = await lab();
await sleep(database);

test("is var.test(a, b) of R 4.2", async () => {
  const [row] = await database.rows<Record<string, number>>("select (ml.f_test(first, value)).* from lab.slept");
  const expected = [0.798342617998, 9, 9, 0.628640034137, 0.742719931726];
  for (const [i, value] of Object.values(row ?? {}).entries())
    expect(Math.abs(value / (expected[i] ?? 0) - 1)).toBeLessThan(1e-10);
  expect(Object.values(row ?? {})).toHaveLength(expected.length);
});

test("leaves out nulls, and is null without values to compare", async () => {
  const [same] = await database.rows(
    "select (ml.f_test(first, value)) = (select ml.f_test(first, value) from lab.slept) as same from (select * from lab.slept union all select null, null) as more",
  );
  expect(same).toEqual({ same: true });
  const [none] = await database.rows("select (ml.f_test(first, value)).statistic from lab.slept where false");
  expect(none).toEqual({ statistic: null });
  const [constant] = await database.rows(
    "select (ml.f_test(v > 0, v)).statistic from unnest(array[1, 1, 1]::float8[]) as v",
  );
  expect(constant).toEqual({ statistic: null });
});

test.each([
  ["NaN", "CF001"],
  ["Infinity", "CF001"],
  ["1e200", "CF007"],
])("%s is refused", async (value, code) => {
  expect(
    await database.rejects(
      "select ml.f_test(v > 0, v) from unnest(array[1, $1]::float8[]) as v".replace("$1", `'${value}'::float8`),
    ),
  ).toMatchObject({ code });
});

test("two states of half the rows merge to the state of all", async () => {
  const sample = `
    select array[count(*) filter (where h), avg(v) filter (where h), coalesce(var_pop(v) filter (where h), 0) * count(*) filter (where h), 0, 0, 0]::float8[] as one,
      array[count(*) filter (where not h), avg(v) filter (where not h), coalesce(var_pop(v) filter (where not h), 0) * count(*) filter (where not h), 0, 0, 0]::float8[] as other,
      array[count(*), avg(v), var_pop(v) * count(*), 0, 0, 0]::float8[] as whole
    from (select b as v, a > 0 as h from lab.sleep) as halves`;
  const [row] = await database.rows<{ merged: number[]; whole: number[] }>(
    `select ml._sample_merged(one, other) as merged, whole from (${sample}) as sampled`,
  );
  for (const [i, value] of (row?.merged ?? []).entries()) expect(value).toBeCloseTo(row?.whole[i] ?? Number.NaN, 10);
});
