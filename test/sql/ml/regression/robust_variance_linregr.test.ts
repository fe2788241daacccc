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

describe("robust", () => {
  test("linear and logistic equal the definition", async () => {
    const linear = await model("ml.robust_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
    expect(fewestDigits(linear.std_err.slice(1), sandwich(linear.coef, false, null))).toBeGreaterThan(8);
  });

  test("the coefficients are those of the plain fit", async () => {
    const robust = await model("ml.robust_variance_linregr('lab.sample', 'lab.model', 'y', 'array[1, a, b]')");
    const [plain] = await train<Fit>(
      database,
      "ml.linregr_train('lab.sample', 'lab.plain', 'y', 'array[1, a, b]')",
      "lab.plain",
    );
    expect(fewestDigits(robust.coef, plain?.coef ?? [])).toBeGreaterThan(9);
  });
});

test.each([
  ["collinear columns", "robust_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, a, 2 * a]')", "CF007"],
  ["an unknown column", "robust_variance_linregr('lab.sample', 'lab.none', 'y', 'array[1, aa]')", "CF002"],
])("%s is refused", async (_, call, code) => {
  await database.query("create or replace view lab.single as select *, 1 as one from lab.sample");
  expect(await database.rejects(`select ml.${call}`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.none')")).toBeNull();
});
