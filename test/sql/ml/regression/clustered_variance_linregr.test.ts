import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { sandwich, sandwichColumns, sandwichRows, train } from "./regression.ts";

const database = await lab();

interface Fit {
  coef: number[];
  std_err: number[];
  p_values: number[];
  variance_covariance: number[][];
  num_clusters?: string;
}

async function model(call: string): Promise<Fit> {
  const [row] = await train<Fit>(database, call);
  if (row === undefined) throw new Error("no model");
  return row;
}
beforeAll(() => load(database, "lab.sample", sandwichColumns, sandwichRows));

describe("clustered", () => {
  test("linear and logistic equal the definition", async () => {
    const linear = await model("ml.clustered_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]', 'g')");
    expect(
      fewestDigits(
        linear.std_err.slice(1),
        sandwich(linear.coef, false, ({ g }) => g),
      ),
    ).toBeGreaterThan(8);
    expect(linear.num_clusters).toBe("12");
  });

  test("copies of a row in its cluster add nothing", async () => {
    const once = await model("ml.clustered_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]', 'id')");
    await database.query("create or replace view lab.copied as select sample.* from lab.sample, generate_series(1, 5)");
    const copied = await model("ml.clustered_variance_linregr('lab.copied', 'lab.model', 'y', 'array[1, a, b]', 'id')");
    const factor = Math.sqrt(95 / 93 / ((5 * 96 - 1) / (5 * 96 - 3)));
    expect(
      fewestDigits(
        once.std_err,
        copied.std_err.map((error) => error * factor),
      ),
    ).toBeGreaterThan(7);
    const naive = await train<Fit>(
      database,
      "ml.linregr_train('lab.copied', 'lab.plain', 'y', 'array[1, a, b]')",
      "lab.plain",
    );
    expect(naive[0]?.std_err[1] ?? 0).toBeLessThan((copied.std_err[1] ?? 0) / 1.5);
  });

  test("by group, and by several columns", async () => {
    await database.query("create or replace view lab.halves as select *, id % 2 as half from lab.sample");
    const fits = await train<Fit>(
      database,
      "ml.clustered_variance_linregr('lab.halves', 'lab.model', 'y', 'array[1, a]', 'g, half', 'half')",
    );
    expect(fits.map((row) => row.num_clusters)).toEqual(["6", "6"]);
  });
});

test.each([
  ["no cluster column", "clustered_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a]', null)", "CF001"],
  [
    "an unknown cluster column",
    "clustered_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a]', 'gg')",
    "CF002",
  ],
  ["one cluster", "clustered_variance_linregr('lab.single', 'lab.none', 'y', 'array[1, a]', 'one')", "CF004"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
