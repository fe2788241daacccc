import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";
import { published } from "../../../support/growthbook.ts";

const database = await testDatabase();

const choose = (n: number | null, ranges: number[] | null): Promise<number | null> =>
  database.value("select experiment.choose_variation($1, $2)", [n, ranges]);

test("gives GrowthBook's published variations", async () => {
  const cases = published<[number, number[][], number]>("chooseVariation");
  expect(cases).toHaveLength(13);
  for (const { place, values } of cases) {
    const [n, ranges, expected] = values;
    expect(await choose(n, ranges.flat()), place).toBe(expected);
  }
});

test("takes the first of two ranges that overlap, the low bound and not the high one", async () => {
  expect(await choose(0.5, [0, 0.6, 0.4, 1])).toBe(0);
  expect(await choose(0.6, [0, 0.6, 0.4, 1])).toBe(1);
  expect(await choose(1, [0, 0.6, 0.4, 1])).toBe(-1);
});

test("arrays that begin elsewhere, and lists of pairs, are read in their order", async () => {
  for (const ranges of ["[0:3]={0,0.5,0.5,1}", "{{0,0.5},{0.5,1}}"]) {
    expect(await database.value("select experiment.choose_variation(0.7, $1)", [ranges])).toBe(1);
  }
});

test("NaN is in no range and bounds none", async () => {
  expect(await choose(Number.NaN, [0, Number.POSITIVE_INFINITY])).toBe(-1);
  expect(await choose(0.5, [0, Number.NaN, Number.NaN, 1, 0, 1])).toBe(2);
});

test("ranges that are missing hold nothing", async () => {
  expect(await choose(0.5, [])).toBe(-1);
  expect(await choose(0.5, [0.2])).toBe(-1);
  expect(await choose(null, [0, 1])).toBe(-1);
  expect(await choose(0.5, null)).toBeNull();
});
