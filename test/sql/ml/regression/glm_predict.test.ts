import { describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";

const database = await lab();

const predict = (coef: string, x: string, link: string): Promise<number | null> =>
  database.value("select ml.glm_predict($1, $2, $3)", [coef, x, link]);

test("binomial: logit is logistic regression, probit solves its own score", async () => {
  const cumulative = (z: number): number => {
    let [term, total] = [z, z];
    for (let i = 1; i < 300; i++) {
      term *= (-z * z) / (2 * i);
      total += term / (2 * i + 1);
    }
    return 0.5 + total / Math.sqrt(2 * Math.PI);
  };
  expect(await database.value("select ml.glm_predict('{0.5}', '{2}', 'probit')")).toBeCloseTo(cumulative(1), 12);
});

test.each([
  ["identity", -1.25],
  ["log", Math.exp(-1.25)],
  ["logit", 1 / (1 + Math.exp(1.25))],
  ["inverse", -0.8],
  ["sqrt", 1.5625],
  ["SQRT", 1.5625],
])("%s: the mean is the inverse of the link", async (link, expected) => {
  expect(await predict("{0.5, -2, 0.25}", "{1, 1, 1}", link)).toBeCloseTo(expected, 14);
});

test("of the inverse square exists on one side of zero, of the inverse not at zero", async () => {
  expect(await predict("{4}", "{1}", "sqr_inverse")).toBe(0.5);
  expect(await predict("{4}", "{-1}", "sqr_inverse")).toBeNull();
  expect(await predict("{4}", "{0}", "inverse")).toBeNull();
  expect(await predict("{1}", "{null}", "log")).toBeNull();
});

describe("bad input", () => {
  test("collinear columns, and an unknown link in a prediction", async () => {
    expect(await database.rejects("select ml.glm_predict('{1}', '{1}', 'lag')")).toMatchObject({ code: "CF001" });
    expect(await database.rejects("select ml.glm_predict('{1, 2}', '{1}', 'log')")).toMatchObject({ code: "CF001" });
  });
});
