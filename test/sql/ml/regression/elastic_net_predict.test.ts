import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";

const database = await lab();

test("predictions", async () => {
  expect(await database.value("select ml.elastic_net_predict('gaussian', '{2, 3}', 1, '{10, 100}')")).toBe(321);
  expect(await database.value("select ml.elastic_net_predict('binomial', '{1}', -1, '{0}')")).toBe(0);
  expect(await database.rejects("select ml.elastic_net_predict('gauss', '{1}', -1, '{0}')")).toMatchObject({
    code: "CF001",
  });
  expect(await database.rejects("select ml.elastic_net_predict('gaussian', '{1}', -1, '{0, 1}')")).toMatchObject({
    code: "CF001",
  });
});

test("of a class is the more probable one, by either name of a family", async () => {
  expect(await database.value("select ml.elastic_net_predict('logistic', '{2}', -1, '{0.6}')")).toBe(1);
  expect(await database.value("select ml.elastic_net_predict('logistic', '{2}', -1, '{0.5}')")).toBe(0);
  expect(await database.value("select ml.elastic_net_predict('linear', '{2}', -1, '{0.6}')")).toBeCloseTo(0.2, 15);
});
