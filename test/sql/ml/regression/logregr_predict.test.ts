import { expect, test } from "vitest";
import { lab, load } from "../../../support/lab.ts";
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
  const [row] = await database.rows<{ agree: string }>(
    `select count(*) filter (where ml.logregr_predict(coef, array[1, a, b]) = (ml.logregr_predict_prob(coef, array[1, a, b]) > 0.5)) as agree
     from lab.patients, lab.model`,
  );
  expect(row?.agree).toBe("20");
});

test("is true from even odds upwards, exclusively", async () => {
  expect(await database.value("select ml.logregr_predict('{2}', '{0.001}')")).toBe(true);
  expect(await database.value("select ml.logregr_predict('{2}', '{0}')")).toBe(false);
  expect(await database.value("select ml.logregr_predict('{2}', '{-0.001}')")).toBe(false);
});

test("another number of columns is refused, a missing value has no class", async () => {
  expect(await database.rejects("select ml.logregr_predict('{1,2}', '{1}')")).toMatchObject({ code: "CF001" });
  expect(await database.value("select ml.logregr_predict('{1,2}', '{1,null}')")).toBeNull();
});
