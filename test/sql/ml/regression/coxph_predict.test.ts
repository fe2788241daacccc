import { expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { digits } from "../../../support/numbers.ts";
import { putStays, remissions, train } from "./regression.ts";

const database = await lab();

const fitted = async (): Promise<void> => {
  await putStays(database, remissions);
  await train(database, "ml.coxph_train('lab.stay', 'lab.model', 'time', 'ARRAY[b, a]', 'seen')");
  await database.query("alter table lab.stay add column id int generated always as identity");
};

test("MADlib's documented example", async () => {
  await fitted();
  for (const [type, column, expected] of [
    ["linear_predictors", "predicted_value", -2.97110918125034],
    ["risk", "predicted_value", Math.exp(-2.97110918125034)],
  ] as const) {
    await database.query("drop table if exists lab.predicted");
    await database.query(`select ml.coxph_predict('lab.model', 'lab.stay', 'id', 'lab.predicted', '${type}')`);
    expect(digits(await database.value(`select ${column} from lab.predicted where id = 1`), expected)).toBeGreaterThan(
      9,
    );
  }
  await database.query("drop table lab.predicted");
  await database.query("select ml.coxph_predict('lab.model', 'lab.stay', 'id', 'lab.predicted', 'terms')");
  const terms = await database.value<number[]>("select predicted_value from lab.predicted where id = 1");
  expect(digits((terms[0] ?? 0) + (terms[1] ?? 0), -2.97110918125034)).toBeGreaterThan(9);
  expect(
    await database.rejects("select ml.coxph_predict('lab.model', 'lab.stay', 'id', 'lab.never', 'hazard')"),
  ).toMatchObject({ code: "CF001" });
});

test("a row without a covariate has no prediction, of any type", async () => {
  await fitted();
  await database.query("insert into lab.stay (time, seen, a) values (5, true, 2)");
  for (const type of ["linear_predictors", "risk"]) {
    await database.query("drop table if exists lab.predicted");
    await database.query(`select ml.coxph_predict('lab.model', 'lab.stay', 'id', 'lab.predicted', '${type}')`);
    expect(await database.value("select count(*) from lab.predicted where predicted_value is null"), type).toBe("1");
  }
});

test.each([
  ["a table that is not a model", "'lab.stay', 'lab.stay', 'id', 'lab.never'", "CF002"],
  ["an unknown id column", "'lab.model', 'lab.stay', 'idd', 'lab.never'", "CF002"],
  ["another reference", "'lab.model', 'lab.stay', 'id', 'lab.never', 'risk', 'strata'", "CF001"],
  ["an output that exists", "'lab.model', 'lab.stay', 'id', 'lab.stay'", "CF003"],
])("%s is refused", async (_, parameters, code) => {
  await fitted();
  expect(await database.rejects(`select ml.coxph_predict(${parameters})`)).toMatchObject({ code });
  expect(await database.value("select to_regclass('lab.never')")).toBeNull();
});
