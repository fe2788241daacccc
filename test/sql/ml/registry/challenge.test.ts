import { beforeAll, describe, expect, test } from "vitest";
import { lab } from "../../../support/lab.ts";
import { people, registry } from "./registry.ts";

const database = await lab();
const { imported } = registry(database);

beforeAll(async () => {
  await people(database);
  await imported("line.price", "linear", { coefficients: { size: 2 } });
});

describe("beside models of our own", () => {
  test("an import challenges the deployed version, and is monitored like any other", async () => {
    await database.query(
      "select ml.train('people.done', 'classification', 'lab.people', 'id', 'done', features => 'n, flag', algorithm => 'logregr')",
    );
    const version = await imported(
      "people.done",
      "logistic",
      { intercept: -8.7, coefficients: { x: 1 } },
      "classification",
    );
    expect(version).toBe(2);
    expect(await database.value("select (ml._version('people.done')).version")).toBe(1);
    const [challenge] = await database.rows(
      "select outcome, deployed, champion_version, value, champion_value from ml.challenge('people.done', 2, 'lab.people', 'done', 'ml.in_holdout(id::text)')",
    );
    expect(challenge).toMatchObject({ outcome: "better", deployed: true, champion_version: 1 });
    expect(challenge?.["value"]).toBeGreaterThan(0.95);
    expect(await database.value("select count(*) from ml.measure_drift('people.done', 'lab.people', 'done')")).toBe(
      "3",
    );
    expect(await database.value("select ml.rollback('people.done')")).toBe(1);
  });

  test.each([
    ["a challenge of nothing", "select ml.challenge('line.price', null, 'lab.people', 'done')", "CF001"],
    ["a challenge without the features", "select ml.challenge('line.price', 1, 'lab.people', 'x')", "CF002"],
    ["a challenge by an unknown version", "select ml.challenge('line.price', 9, 'lab.people', 'done')", "CF002"],
    ["a challenge on no row", "select ml.challenge('people.done', 1, 'lab.people', 'done', 'false')", "CF004"],
    [
      "a challenge on a column that is not a condition",
      "select ml.challenge('line.price', 1, 'lab.people', 'done', 'x')",
      "CF001",
    ],
  ])("%s", async (_, sql, code) => {
    expect(await database.rejects(sql)).toMatchObject({ code });
  });
});

test("a version whose metric is null is not deployed", async () => {
  await database.query("create table lab.one_class as select i as id, 1 as seen from generate_series(1, 20) as i");
  await database.query(
    `select ml.register_model('lab.unmeasured', 'classification', 'constant',
       '{"kind": "linear", "link": "logit", "intercept": 0, "features": []}')`,
  );
  const [row] = await database.rows("select * from ml.challenge('lab.unmeasured', 1, 'lab.one_class', 'seen')");
  expect(row).toMatchObject({ outcome: "first", value: null, deployed: false });
  expect(
    await database.value(
      "select count(*) from ml.deployment join ml.project using (project_id) where name = 'lab.unmeasured'",
    ),
  ).toBe("0");
});
