import { expect, test } from "vitest";
import { testDatabase } from "../../support/database.ts";
import { generator } from "../../support/matrix.ts";

const database = await testDatabase();

const quantile = (counts: number[], part: number): Promise<number | null> =>
  database.value("select common.duration_quantile($1, $2)", [counts, part]);
const counted = (entries: Record<number, number>): number[] => Array.from({ length: 38 }, (_, n) => entries[n] ?? 0);

test("is within a factor of √2 of the quantile of the durations themselves", async () => {
  const next = generator(5);
  const durations = Array.from({ length: 2000 }, () => 0.0007 * Math.exp(9 * next() ** 2));
  const counts = await database.value<number[]>(
    `select array(
       select (select count(*) from unnest($1::float8[]) as one where width_bucket(one, common.duration_bounds()) = place)
       from generate_series(0, 37) as place order by place
     )::int[]`,
    [durations],
  );
  expect(counts.reduce((sum, count) => sum + count)).toBe(2000);
  durations.sort((a, b) => a - b);
  for (const part of [0.01, 0.25, 0.5, 0.9, 0.95, 0.99]) {
    const [truth, got] = [durations[Math.ceil(part * 2000) - 1] ?? 0, (await quantile(counts, part)) ?? 0];
    expect(Math.abs(Math.log(got / truth))).toBeLessThanOrEqual(Math.log(Math.SQRT2) + 1e-9);
  }
});

test("is null without durations, inside of the first bucket below its bound, and the last bound above all", async () => {
  expect(await quantile(counted({}), 0.5)).toBe(null);
  expect(await quantile(counted({ 0: 4 }), 0.5)).toBeCloseTo(0.00025, 12);
  expect(await quantile(counted({ 37: 3 }), 0.5)).toBeCloseTo(131.072, 9);
  expect(await quantile(counted({ 1: 1, 5: 1 }), 1)).toBeCloseTo(0.0005 * Math.SQRT2 ** 5, 12);
});

test("a quantile that is not a share is an error", async () => {
  for (const part of ["-0.1", "1.1", "1e308", "'NaN'", "'infinity'"])
    expect(await database.rejects(`select common.duration_quantile('{9223372036854775807}', ${part})`)).toMatchObject({
      code: "CF001",
    });
});

test("counts that are not those of a histogram are an error, and large ones are not", async () => {
  for (const counts of ["{0,1,-9223372036854775807}", "{9223372036854775807,-9223372036854775808,1}", "{-1}"])
    expect(await database.rejects("select common.duration_quantile($1, 0.5)", [counts])).toMatchObject({
      code: "CF001",
      message: expect.stringContaining("the lowest is -"),
    });
  expect(
    await database.rejects("select common.duration_quantile(array_fill(1, array[39])::bigint[], 0.5)"),
  ).toMatchObject({ code: "CF001", hint: "Give at most 38 counts, all from 0." });
  const many = counted({ 3: 0, 4: 1 }).map((count) => (count === 1 ? "9223372036854775807" : String(count)));
  for (const part of [0, 1e-300, 0.5, 1]) {
    const seconds = await database.value<number>("select common.duration_quantile($1, $2)", [many, part]);
    expect(seconds).toBeGreaterThan(0.0005 * Math.SQRT2 ** 3 - 1e-12);
    expect(seconds).toBeLessThan(0.0005 * Math.SQRT2 ** 4 + 1e-12);
  }
  expect(await database.value("select common.duration_quantile(array_fill(9223372036854775807, array[38]), 0.5)")).toBe(
    await quantile(counted(Object.fromEntries(Array.from({ length: 38 }, (_, n) => [n, 7]))), 0.5),
  );
  for (const nothing of ["null", "'{}'", "'{null}'", "'{0,null}'"])
    expect(await database.value(`select common.duration_quantile(${nothing}, 0.5)`)).toBe(null);
  expect(await database.value("select common.duration_quantile('{1}', null)")).toBe(null);
});
