import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { digits } from "../../../support/numbers.ts";

const database = await lab();

test("predictions", async () => {
  expect(
    digits(await database.value("select ml.elastic_net_binomial_prob('{1}', -1, '{3}')"), 1 / (1 + Math.exp(-2))),
  ).toBeGreaterThan(14);
  // The intercept alone, and what cancels it.
  expect(await database.value("select ml.elastic_net_binomial_prob('{0, 0}', 0, '{5, 6}')")).toBe(0.5);
  expect(await database.value("select ml.elastic_net_binomial_prob('{2, -1}', 4, '{1, 6}')")).toBe(0.5);
});

test("another number of columns is refused", async () => {
  expect(await database.rejects("select ml.elastic_net_binomial_prob('{1}', -1, '{0, 1}')")).toMatchObject({
    code: "CF001",
  });
});
