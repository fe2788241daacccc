import { expect, test } from "vitest";
import { testDatabase } from "../../../support/database.ts";

const database = await testDatabase();

interface Fit {
  coef: number[] | null;
  r2: number | null;
  std_err: number[] | null;
  t_stats: number[] | null;
  p_values: number[] | null;
  condition_no: number | null;
  num_processed: number;
  vcov: number[][] | null;
}

const fitted = (y: string, x: string, from: string): Promise<Fit | null> =>
  database.as("insights_analyst", {}, (db) => db.value(`select to_jsonb(ml.linregr(${y}, ${x})) from ${from}`));

/** The example of MADlib's manual: taxes, bathrooms, price and size of houses. */
const houses = `(values (590, 1, 50000, 770), (1050, 2, 85000, 1410), (20, 1, 22500, 1060), (870, 2, 90000, 1300),
  (1320, 2, 133000, 1500), (1350, 1, 90500, 820), (2790, 2.5, 260000, 2130), (680, 1, 142500, 1170),
  (1840, 2, 160000, 1500), (3680, 2, 240000, 2790), (1660, 1, 87000, 1030), (1620, 2, 118600, 1250),
  (3100, 2, 140000, 1760), (2070, 3, 148000, 1550), (650, 1.5, 65000, 1450)) as house (tax, bath, price, size)`;

const digits = (found: number[] | null | undefined, expected: number[]): number =>
  Math.min(
    ...expected.map((value, i) => -Math.log10(Math.abs((found?.[i] ?? Number.NaN) / value - 1) + Number.MIN_VALUE)),
  );

test("the example of MADlib's manual", async () => {
  const result = await fitted("price", "array[1, tax, bath, size]", houses);
  expect(
    digits(result?.coef, [-12849.4168959872, 28.9613922651765, 10181.6290712648, 50.516894915354]),
  ).toBeGreaterThan(11);
  expect(
    digits(result?.std_err, [33453.0344331391, 15.8992104963997, 19437.7710925923, 32.928023174087]),
  ).toBeGreaterThan(11);
  expect(
    digits(result?.p_values, [0.708223134615422, 0.0958005827189772, 0.610804093526536, 0.153235085548186]),
  ).toBeGreaterThan(11);
  expect(result?.r2).toBeCloseTo(0.768577580597443, 13);
  expect(result?.condition_no).toBeCloseTo(9002.50457085737, 2);
  expect(result?.num_processed).toBe(15);
  expect(Math.sqrt(result?.vcov?.[1]?.[1] ?? 0)).toBeCloseTo(15.8992104963997, 9);
});

test("without a constant column, r2 is about zero, as in ml.linregr_train", async () => {
  const result = await fitted("i * 2 + i % 3", "array[i]", "generate_series(1, 7) as i");
  expect(digits(result?.coef, [306 / 140])).toBeGreaterThan(13);
  const expected = await database.value<number>(
    "select 1 - sum((i * 2 + i % 3 - i * 306 / 140.0) ^ 2) / sum((i * 2 + i % 3) ^ 2) from generate_series(1, 7) as i",
  );
  expect(result?.r2).toBeCloseTo(Number(expected), 12);
});

test("a large origin costs no digits", async () => {
  const result = await fitted("3.0 * i + 7 + i % 2", "array[1, i]", "generate_series(1000000001, 1000000100) as i");
  // The slope and its standard error do not depend on the origin.
  const same = await fitted("3.0 * i + 7 + i % 2", "array[1, i]", "generate_series(1, 100) as i");
  expect(
    digits([result?.coef?.[1] ?? 0, result?.std_err?.[1] ?? 0], [same?.coef?.[1] ?? 0, same?.std_err?.[1] ?? 0]),
  ).toBeGreaterThan(11);
});

test("partial results add up", async () => {
  await database.query(`
    create schema part;
    create aggregate part.state(float8, float8[]) (sfunc = ml._linregr_add, stype = float8[], initcond = '{0,0}');
  `);
  for (const condition of ["tax < 1500", "true", "false", "price > 200000"]) {
    const coef = await database.value<number[]>(`
      select (ml._linregr(ml._linregr_combine(
        part.state(price, array[1, tax, bath, size]) filter (where ${condition}),
        part.state(price, array[1, tax, bath, size]) filter (where not ${condition})
      ))).coef
      from ${houses}
    `);
    expect(digits(coef, [-12849.4168959872, 28.9613922651765, 10181.6290712648, 50.516894915354])).toBeGreaterThan(10);
  }
});

test("what cannot be fitted is null, so that a group does not end the others", async () => {
  const none = { coef: null, r2: null, std_err: null, t_stats: null, p_values: null, condition_no: null, vcov: null };
  expect(await fitted("i", "array[1, i]", "generate_series(1, 0) as i")).toBeNull();
  expect(await fitted("null", "array[1, i]", "generate_series(1, 3) as i")).toBeNull();
  expect(await fitted("i", "array[1, i]", "generate_series(1, 1) as i")).toEqual({ ...none, num_processed: 1 });
  expect(await fitted("i", "array[i, 3 * i]", "generate_series(1, 9) as i")).toEqual({ ...none, num_processed: 9 });
  expect(await fitted("i", "array[1, 1, i]", "generate_series(1, 9) as i")).toEqual({ ...none, num_processed: 9 });
  const exact = await fitted("i", "array[1, i]", "generate_series(1, 2) as i");
  expect(exact?.coef?.[1]).toBeCloseTo(1, 14);
  expect(exact).toMatchObject({ std_err: null, p_values: null, vcov: null, num_processed: 2 });
});

test("rows with a null are left out, and what is not finite or ragged is refused", async () => {
  expect((await fitted("i", "array[1, nullif(i, 3)]", "generate_series(1, 5) as i"))?.num_processed).toBe(4);
  for (const [x, code] of [
    ["array[1, 'NaN'::float8]", "CF001"],
    ["array[1, '-Infinity'::float8]", "CF001"],
    ["array_fill(1::float8, array[i])", "CF001"],
    ["array_fill(1::float8, array[101])", "CF008"],
    ["'{}'", "CF008"],
  ]) {
    const error = await database.rejects(`select ml.linregr(i, ${x}) from generate_series(1, 5) as i`);
    expect(error.code, x).toBe(code);
  }
});
