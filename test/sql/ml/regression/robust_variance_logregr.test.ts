import { beforeAll, describe, expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { fewestDigits } from "../../../support/numbers.ts";
import { patients, sandwich, sandwichColumns, sandwichRows, train } from "./regression.ts";

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

describe("robust", () => {
  test("MADlib's documented example, which equals R's vcovHC(type = 'HC0')", async () => {
    await load(
      database,
      "lab.patients",
      "y int, a int, b int",
      patients.map(([y, a, b]) => ({ y, a, b })),
    );
    const robust = await model("ml.robust_variance_logregr('lab.patients', 'lab.model', 'y', 'array[1, a, b]')");
    expect(fewestDigits(robust.std_err, [3.45872062333648, 1.1716192578234, 0.0534328864185018])).toBeGreaterThan(9);
    expect(fewestDigits(robust.p_values, [0.0657926909738889, 0.382066744585541, 0.0258849510757339])).toBeGreaterThan(
      8,
    );
  });

  test("linear and logistic equal the definition", async () => {
    const logistic = await model("ml.robust_variance_logregr('lab.sample', 'lab.model', 'c', 'array[1, a, b]')");
    expect(fewestDigits(logistic.std_err.slice(1), sandwich(logistic.coef, true, null))).toBeGreaterThan(6);
  });
});

test.each([
  ["one class", "robust_variance_logregr('lab.sample', 'lab.none', 'c * 0', 'array[1, a]')", "CF004"],
  ["an unknown column", "robust_variance_logregr('lab.sample', 'lab.none', 'c', 'array[1, aa]')", "CF002"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
