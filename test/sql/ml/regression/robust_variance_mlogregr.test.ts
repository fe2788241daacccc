import { beforeAll, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { putVotes, train } from "./regression.ts";

const database = await lab();
beforeAll(() => putVotes(database));

interface Fit {
  category: number;
  ref_category: number;
  coef: number[] | null;
  std_err: number[] | null;
  p_values: number[] | null;
  failure: string | null;
}

const robust = (rest = "", source = "lab.vote"): Promise<Fit[]> =>
  train<Fit>(database, `ml.robust_variance_mlogregr('${source}', 'lab.model', 'y', 'array[1, a, b]'${rest})`);

test("the definition, computed in R: (X'WX)^-1 U'U (X'WX)^-1", async () => {
  const fits = await robust();
  expect(fits.map(({ category, ref_category }) => [category, ref_category])).toEqual([
    [1, 0],
    [2, 0],
  ]);
  // R 4.2, Newton's method to the end; nnet::multinom has the coefficients to eight digits
  expect(
    fewestDigits(fits[0]?.coef ?? [], [0.00800424129579974, -0.144372189938839, 0.425748986867373]),
  ).toBeGreaterThan(9);
  expect(
    fewestDigits(fits[0]?.std_err ?? [], [0.48370367860464, 0.206146642437094, 0.593002647149424]),
  ).toBeGreaterThan(8);
  expect(
    fewestDigits(fits[1]?.std_err ?? [], [0.553290880081724, 0.22056185956006, 0.615582635374619]),
  ).toBeGreaterThan(8);
});

test("with two categories, it is ml.robust_variance_logregr", async () => {
  await database.query("create view lab.two as select least(y, 1) as y, y > 0 as won, a, b from lab.vote");
  const [multinomial] = await robust("", "lab.two");
  const [logistic] = await train<Fit>(
    database,
    "ml.robust_variance_logregr('lab.two', 'lab.model', 'won', 'array[1, a, b]', null, 20, 'irls', 1e-9)",
  );
  expect(fewestDigits(multinomial?.std_err ?? [], logistic?.std_err ?? [])).toBeGreaterThan(7);
});

test("units and origin change no digit, and another reference is another contrast", async () => {
  await database.query("create view lab.scaled as select y, a * 1e-3 + 1e4 as a, b * 1e6 as b from lab.vote");
  const [fit] = await robust("", "lab.scaled");
  expect(fewestDigits(fit?.std_err?.slice(1) ?? [], [206.146642437094, 0.593002647149424e-6])).toBeGreaterThan(6);
  const [opposite] = await robust(", 1");
  expect(opposite).toMatchObject({ category: 0, ref_category: 1 });
  expect(opposite?.std_err?.[1]).toBeCloseTo(0.206146642437094, 8);
});

test("by group, one that fails does not end the others", async () => {
  await database.query(`
    create view lab.grouped as
    select *, 'all' as part from lab.vote
    union all
    select *, 'few' from lab.vote where row_no < 4
  `);
  const rows = await robust(", 0, 'part'", "lab.grouped");
  expect(rows.filter(({ failure }) => failure === null).length).toBe(2);
  const failed = rows.find(({ failure }) => failure !== null);
  expect(failed).toMatchObject({ std_err: null, coef: null });
  const fine = rows.find(({ category }) => category === 1);
  expect(fewestDigits(fine?.std_err ?? [], [0.48370367860464, 0.206146642437094, 0.593002647149424])).toBeGreaterThan(
    8,
  );
});

test.each([
  ["collinear columns", "'y', 'array[1, a, 2 * a]'", "CF007"],
  ["an unknown column", "'y', 'array[1, aa]'", "CF002"],
  ["an unknown reference", "'y', 'array[1, a]', 7", "CF002"],
  ["fractions as categories", "'a', 'array[1, b]'", "CF001"],
  ["an unknown optimizer", "'y', 'array[1, a]', 0, null, 'optimizer=sgd'", "CF001"],
])("%s is refused", async (_, rest, code) => {
  const error = await database.rejects(`select ml.robust_variance_mlogregr('lab.vote', 'lab.none', ${rest})`);
  expect(error.code).toBe(code);
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
