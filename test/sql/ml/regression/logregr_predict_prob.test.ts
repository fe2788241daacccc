import { expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
import { dot } from "../../../support/matrix.ts";
import { patients, train } from "./regression.ts";

const database = await lab();

const fitted = async (): Promise<void> => {
  await load(
    database,
    "lab.patients",
    "y int, a int, b int",
    patients.map(([y, a, b]) => ({ y, a, b })),
  );
  await train(database, "ml.logregr_train('lab.patients', 'lab.model', 'y = 1', 'array[1, a, b]')");
};

test("predicts classes and probabilities", async () => {
  await fitted();
  const [row] = await database.rows<{ expected: number; seen: number }>(
    `select sum(ml.logregr_predict_prob(coef, array[1, a, b])) as expected, sum(y)::float8 as seen
     from lab.patients, lab.model`,
  );
  // with an intercept the expected number of positives is the observed one
  expect(row?.expected).toBeCloseTo(row?.seen ?? 0, 9);
  expect(await database.value("select ml.logregr_predict_prob('{1000}', '{1}')")).toBe(1);
  expect(await database.value("select ml.logregr_predict_prob('{-1000}', '{1}')")).toBeLessThan(1e-300);
});

test("is the logistic function of the sum of products", async () => {
  for (const [coef, x] of [
    [
      [0.5, -2],
      [1, 0.25],
    ],
    [[3], [-4]],
    [
      [0, 0, 0],
      [7, 8, 9],
    ],
  ] as const) {
    expect(await database.value("select ml.logregr_predict_prob($1, $2)", [coef, x])).toBeCloseTo(
      1 / (1 + Math.exp(-dot(coef, x))),
      14,
    );
  }
});

test("another number of columns is refused, a missing value has no probability", async () => {
  expect(await database.rejects("select ml.logregr_predict_prob('{1,2}', '{1}')")).toMatchObject({ code: "CF001" });
  expect(await database.value("select ml.logregr_predict_prob('{1,2}', '{1,null}')")).toBeNull();
});
