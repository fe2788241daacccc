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
    const logistic = await model(
      "ml.clustered_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]', 'g')",
    );
    expect(
      fewestDigits(
        logistic.std_err.slice(1),
        sandwich(logistic.coef, true, ({ g }) => g),
      ),
    ).toBeGreaterThan(6);
    expect(logistic.num_clusters).toBe("12");
  });

  test("a cluster for each row is the robust error, corrected for the number of clusters", async () => {
    const clustered = await model(
      "ml.clustered_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]', 'id')",
    );
    const robust = await model("ml.robust_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]')");
    const correction = Math.sqrt((96 / 95) * (95 / 93));
    expect(
      fewestDigits(
        clustered.std_err,
        robust.std_err.map((error) => error * correction),
      ),
    ).toBeGreaterThan(8);
  });
});

test.each([
  ["no cluster column", "clustered_variance_logregr('lab.sample', 'lab.none', 'c', 'array[1, a]', null)", "CF001"],
  [
    "an unknown cluster column",
    "clustered_variance_logregr('lab.sample', 'lab.none', 'c', 'array[1, a]', 'gg')",
    "CF002",
  ],
  ["one cluster", "clustered_variance_logregr('lab.single', 'lab.none', 'c', 'array[1, a]', 'one')", "CF004"],
  ["one class", "clustered_variance_logregr('lab.sample', 'lab.none', 'c * 0', 'array[1, a]', 'g')", "CF004"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
