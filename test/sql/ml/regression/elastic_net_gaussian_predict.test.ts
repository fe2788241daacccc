import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";

const database = await lab();

test("is the intercept and the sum of products", async () => {
  expect(await database.value("select ml.elastic_net_gaussian_predict('{2, 3}', 1, '{10, 100}')")).toBe(321);
  expect(await database.value("select ml.elastic_net_gaussian_predict('{0.5, -0.25}', -1.5, '{3, 8}')")).toBe(-2);
  expect(await database.value("select ml.elastic_net_gaussian_predict('{2, 3}', 1, '{10, null}')")).toBeNull();
});

test("another number of columns is refused", async () => {
  expect(await database.rejects("select ml.elastic_net_gaussian_predict('{1}', -1, '{0, 1}')")).toMatchObject({
    code: "CF001",
  });
});
